use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt as _;
use windlass_core::time::Wall;

use super::*;
use crate::api::access::Access;
use crate::api::json::asked;
use crate::api::{self, Door, Front, Limits, routes, submission};
use crate::gateway::Gateway;

fn described() -> Value {
    serde_json::to_value(document(routes::all())).unwrap()
}

/// Every object in `value`, itself included.
fn objects<'a>(value: &'a Value, found: &mut Vec<&'a serde_json::Map<String, Value>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| objects(item, found)),
        Value::Object(members) => {
            found.push(members);
            members.values().for_each(|item| objects(item, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let document = described();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let routes = routes::all();
    let routed: BTreeSet<_> = routes
        .iter()
        .map(|route| (route.method.to_string(), route.path.to_owned()))
        .collect();
    assert_eq!(routed.len(), routes.len(), "no route is there twice");
    assert_eq!(described, routed);
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_described_for_nobody() {
    let document = described();
    let mut all = Vec::new();
    objects(&document, &mut all);
    let references: BTreeSet<&str> = all
        .iter()
        .filter_map(|object| object.get("$ref")?.as_str())
        .collect();
    assert!(references.len() > 30);
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        let reference = format!("#/components/schemas/{name}");
        assert!(references.contains(&*reference), "{name} is used nowhere");
    }
}

#[test]
fn every_operation_is_sound() {
    let document = described();
    let mut ids = BTreeSet::new();
    for route in routes::all() {
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][route.path][&method];
        let what = format!("{method} {}", route.path);
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{what}"
        );
        assert!(
            operation["summary"].as_str().unwrap().ends_with('.'),
            "{what}"
        );
        let variables: BTreeSet<&str> = route
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let mut named = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (name, place) = (parameter["name"].as_str().unwrap(), &parameter["in"]);
            assert!(
                seen.insert((name, place.to_string())),
                "{what}: {name} twice"
            );
            assert_eq!(parameter["required"], *place == "path", "{what}: {name}");
            assert!(parameter["schema"].is_object() && parameter["description"].is_string());
            if place == "path" {
                named.insert(name);
            }
        }
        assert_eq!(named, variables, "{what}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{what}"
        );
        let open = route.access == Access::Open;
        assert_eq!(responses.contains_key("403"), !open, "{what}");
        let security = operation["security"].as_array().unwrap();
        let schemes = document["components"]["securitySchemes"]
            .as_object()
            .unwrap();
        for requirement in security {
            for scheme in requirement.as_object().unwrap().keys() {
                assert!(!open && schemes.contains_key(scheme), "{what}: {scheme}");
            }
        }
    }
}

#[test]
fn every_schema_is_one() {
    let document = described();
    let kinds = [
        "string", "integer", "number", "boolean", "object", "array", "null",
    ];
    let mut all = Vec::new();
    objects(&document["components"]["schemas"], &mut all);
    for object in all {
        let named = match object.get("type") {
            Some(Value::String(kind)) => vec![kind.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            Some(_) | None => vec![],
        };
        assert!(named.iter().all(|kind| kinds.contains(kind)), "{object:?}");
        if let (Some(required), Some(properties)) =
            (object.get("required"), object.get("properties"))
        {
            for name in required.as_array().into_iter().flatten() {
                assert!(
                    properties.get(name.as_str().unwrap()).is_some(),
                    "{name}: {object:?}"
                );
            }
        }
        assert!(
            !object.contains_key("nullable"),
            "that was OpenAPI 3.0: {object:?}"
        );
    }
}

/// The fields of a schema, with `path` before their names.
fn fields(name: &str, path: &str) -> BTreeSet<String> {
    let schema = &described()["components"]["schemas"][name];
    assert_eq!(
        schema["additionalProperties"], false,
        "{name} takes nothing unknown"
    );
    let properties = schema["properties"].as_object().unwrap();
    properties
        .keys()
        .map(|field| format!("{path}{field}"))
        .collect()
}

#[test]
fn a_submission_is_described_as_it_is_read() {
    asked::take();
    let now = Wall::from_millis(0);
    submission::read(r#"{"type":"t","retry":{"kind":"fixed"}}"#, 100, now).unwrap();
    let mut expected = fields("Submission", "");
    expected.extend(fields("Retry", "retry."));
    assert_eq!(asked::take(), expected);
}

#[tokio::test]
async fn every_other_body_is_described_as_it_is_read() {
    let limits = Limits {
        ask_time_out: Duration::from_millis(1),
        ..Limits::default()
    };
    // Nobody answers: the body is read before anybody is asked.
    let gateway = Gateway::new(|_, _| {});
    let ready = Arc::new(|| Ok(()));
    let router = api::router(gateway, limits, ready, Front::new(Door::open()));
    for (method, path, schema) in [
        ("PUT", "/api/v1/queues/q", "QueueSettings"),
        ("POST", "/api/v1/locks/k", "LockTake"),
        ("PUT", "/api/v1/locks/k", "LockProof"),
        ("DELETE", "/api/v1/locks/k", "LockProof"),
        ("POST", "/api/v1/session", "SessionBegin"),
        ("POST", "/api/v1/tasks/bulk", "Bulk"),
        ("POST", "/api/v1/workers", "WorkerJoin"),
        ("POST", "/api/v1/workers/w/fetch", "WorkerFetch"),
        ("POST", "/api/v1/workers/w/beat", "WorkerBeat"),
        ("POST", "/api/v1/workers/w/done", "WorkerDone"),
        ("POST", "/api/v1/workers/w/leave", "WorkerProof"),
    ] {
        asked::take();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(r#"{"wait":"1ms"}"#))
            .unwrap();
        router.clone().oneshot(request).await.unwrap();
        assert_eq!(asked::take(), fields(schema, ""), "{method} {path}");
    }
    let with_body = routes::all().into_iter().filter(|route| {
        let method = route.method.as_str().to_lowercase();
        !described()["paths"][route.path][method]["requestBody"].is_null()
    });
    assert_eq!(
        with_body.count(),
        12,
        "a body that is compared with nothing"
    );
}
