//! Real answers, compared with what the API's description says of them.

use serde_json::{Value, json};

use super::fake::{Answered, Fake, call, get, post, submitted};

/// The description, and how answers are held against it.
struct Description(Value);

impl Description {
    /// What a schema says in the end.
    fn resolved<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        while let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').unwrap();
            schema = self.0.pointer(pointer).unwrap();
        }
        schema
    }

    /// What is wrong with `value`, if anything. Stricter than the standard: a field that is not described is wrong, too.
    fn check(&self, value: &Value, schema: &Value) -> Result<(), String> {
        let schema = self.resolved(schema);
        for word in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[word].as_array() {
                let tried: Vec<_> = choices.iter().map(|it| self.check(value, it)).collect();
                return match tried.iter().any(Result::is_ok) {
                    true => Ok(()),
                    false => Err(format!("{value} is none of {word}: {tried:?}")),
                };
            }
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_of = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
        let fits = match &schema["type"] {
            Value::Array(several) => several.iter().any(is_of),
            Value::Null => true,
            one => is_of(one),
        };
        if !fits {
            return Err(format!("{value} is no {}", schema["type"]));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{value} is none of {words:?}"));
        }
        match value {
            Value::Array(items) if !schema["items"].is_null() => items
                .iter()
                .try_for_each(|it| self.check(it, &schema["items"])),
            Value::Object(members) if schema["properties"].is_object() => {
                for name in schema["required"].as_array().into_iter().flatten() {
                    if !members.contains_key(name.as_str().unwrap()) {
                        return Err(format!("{name} is missing in {value}"));
                    }
                }
                members.iter().try_for_each(|(name, member)| {
                    let described = &schema["properties"][name];
                    if described.is_null() {
                        return Err(format!("{name} is not described"));
                    }
                    self.check(member, described)
                        .map_err(|wrong| format!("{name}: {wrong}"))
                })
            }
            Value::Array(_)
            | Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => Ok(()),
        }
    }

    fn expect(&self, method: &str, path: &str, answered: &Answered) {
        let operation = &self.0["paths"][path][method];
        let status = answered.status.as_u16().to_string();
        let response = self.resolved(&operation["responses"][&status]);
        let schema = &response["content"][&answered.kind]["schema"];
        let what = format!("{method} {path} {status} {}", answered.kind);
        assert!(schema.is_object(), "{what} is not described");
        if let Err(wrong) = self.check(&answered.json(), schema) {
            panic!("{what}: {wrong}");
        }
    }
}

#[tokio::test]
async fn every_field_of_a_real_answer_is_described() {
    let router = Fake::default().router();
    let description = Description(get(&router, "/api/v1/openapi.json").await.json());
    let task =
        r#"{"type":"echo","name":"n","payload":{"a":[1,2.5,null]},"metadata":{"k":"v"},"key":"k"}"#;
    let id = submitted(&router, task).await;
    let failed = submitted(&router, r#"{"type":"fail"}"#).await;
    let of = |id: &str, rest: &str| format!("/api/v1/tasks/{id}{rest}");
    get(&router, &of(&failed, "?wait=1s")).await;
    let many = r#"[{"type":"t"},{"type":""},{"type":"busy"},{"type":"lost"}]"#;
    for (method, template, path, body) in [
        ("POST", "/api/v1/tasks", "/api/v1/tasks".to_owned(), task),
        (
            "POST",
            "/api/v1/tasks",
            "/api/v1/tasks".to_owned(),
            r#"{"type":"t"}"#,
        ),
        (
            "POST",
            "/api/v1/tasks",
            "/api/v1/tasks".to_owned(),
            r#"[{"type":"t"},{"type":""}]"#,
        ),
        ("POST", "/api/v1/tasks", "/api/v1/tasks".to_owned(), many),
        (
            "POST",
            "/api/v1/tasks",
            "/api/v1/tasks".to_owned(),
            r#"{"type":"lost"}"#,
        ),
        (
            "POST",
            "/api/v1/tasks",
            "/api/v1/tasks".to_owned(),
            r#"{"type":1}"#,
        ),
        (
            "GET",
            "/api/v1/tasks",
            "/api/v1/tasks?limit=1".to_owned(),
            "",
        ),
        (
            "GET",
            "/api/v1/tasks",
            "/api/v1/tasks?limit=x".to_owned(),
            "",
        ),
        ("GET", "/api/v1/tasks/{id}", of(&id, "?wait=1s"), ""),
        ("GET", "/api/v1/tasks/{id}", of(&failed, ""), ""),
        (
            "GET",
            "/api/v1/tasks/{id}",
            of("019aa000-0000-7000-8000-000000000000", ""),
            "",
        ),
        ("GET", "/api/v1/tasks/{id}/why", of(&id, "/why"), ""),
        ("POST", "/api/v1/tasks/{id}/cancel", of(&id, "/cancel"), ""),
        (
            "POST",
            "/api/v1/tasks/{id}/rerun",
            of(&failed, "/rerun"),
            "",
        ),
        ("GET", "/api/v1/stats", "/api/v1/stats".to_owned(), ""),
        (
            "PUT",
            "/api/v1/queues/{queue}",
            "/api/v1/queues/q".to_owned(),
            r#"{"strategy":"weighted"}"#,
        ),
        (
            "POST",
            "/api/v1/queues/{queue}/pause",
            "/api/v1/queues/q/pause".to_owned(),
            "",
        ),
        (
            "POST",
            "/api/v1/queues/{queue}/resume",
            "/api/v1/queues/q/resume".to_owned(),
            "",
        ),
        (
            "GET",
            "/api/v1/queues/{queue}",
            "/api/v1/queues/q".to_owned(),
            "",
        ),
        ("GET", "/api/v1/queues", "/api/v1/queues".to_owned(), ""),
        ("GET", "/api/v1/nodes", "/api/v1/nodes".to_owned(), ""),
        (
            "POST",
            "/api/v1/nodes/{id}/drain",
            "/api/v1/nodes/w1/drain".to_owned(),
            "",
        ),
        (
            "POST",
            "/api/v1/locks/{key}",
            "/api/v1/locks/k".to_owned(),
            "{}",
        ),
        (
            "PUT",
            "/api/v1/locks/{key}",
            "/api/v1/locks/k".to_owned(),
            r#"{"token":"00"}"#,
        ),
        ("GET", "/api/v1/session", "/api/v1/session".to_owned(), ""),
        ("GET", "/api/v1/audit", "/api/v1/audit".to_owned(), ""),
        (
            "GET",
            "/api/v1/history",
            "/api/v1/history?range=1h".to_owned(),
            "",
        ),
        ("GET", "/livez", "/livez".to_owned(), ""),
        ("GET", "/readyz", "/readyz".to_owned(), ""),
        (
            "GET",
            "/api/v1/openapi.json",
            "/api/v1/openapi.json".to_owned(),
            "",
        ),
    ] {
        let answered = call(&router, method, &path, body).await;
        description.expect(&method.to_lowercase(), template, &answered);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_as_described_is_noticed() {
    let router = Fake::default().router();
    let description = Description(get(&router, "/api/v1/openapi.json").await.json());
    let ready = json!({"$ref": "#/components/schemas/Ready"});
    assert_eq!(description.check(&json!({"ready": true}), &ready), Ok(()));
    for wrong in [
        json!({}),
        json!({"ready": "yes"}),
        json!({"ready": true, "more": 1}),
        json!(1),
    ] {
        assert!(description.check(&wrong, &ready).is_err(), "{wrong}");
    }
    let pause = post(&router, "/api/v1/queues/q/pause", "").await;
    assert!(description.check(&pause.json(), &ready).is_err());
}
