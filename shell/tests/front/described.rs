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
            one @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                is_of(one)
            }
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

const TASK: &str =
    r#"{"type":"echo","name":"n","payload":{"a":[1,2.5,null]},"metadata":{"k":"v"},"key":"k"}"#;
const MANY: &str = r#"[{"type":"t"},{"type":""},{"type":"busy"},{"type":"lost"}]"#;

/// What is called, by which template of the description, where, and with what body. `ID` is a task that waits, `FAILED`
/// one that failed.
const CALLS: [(&str, &str, &str, &str); 30] = [
    ("POST", "/api/v1/tasks", "/api/v1/tasks", TASK),
    ("POST", "/api/v1/tasks", "/api/v1/tasks", r#"{"type":"t"}"#),
    (
        "POST",
        "/api/v1/tasks",
        "/api/v1/tasks",
        r#"[{"type":"t"},{"type":""}]"#,
    ),
    ("POST", "/api/v1/tasks", "/api/v1/tasks", MANY),
    (
        "POST",
        "/api/v1/tasks",
        "/api/v1/tasks",
        r#"{"type":"lost"}"#,
    ),
    ("POST", "/api/v1/tasks", "/api/v1/tasks", r#"{"type":1}"#),
    ("GET", "/api/v1/tasks", "/api/v1/tasks?limit=1", ""),
    ("GET", "/api/v1/tasks", "/api/v1/tasks?limit=x", ""),
    ("GET", "/api/v1/tasks/{id}", "/api/v1/tasks/ID?wait=1s", ""),
    ("GET", "/api/v1/tasks/{id}", "/api/v1/tasks/FAILED", ""),
    (
        "GET",
        "/api/v1/tasks/{id}",
        "/api/v1/tasks/019aa000-0000-7000-8000-000000000000",
        "",
    ),
    ("GET", "/api/v1/tasks/{id}/why", "/api/v1/tasks/ID/why", ""),
    (
        "POST",
        "/api/v1/tasks/{id}/cancel",
        "/api/v1/tasks/ID/cancel",
        "",
    ),
    (
        "POST",
        "/api/v1/tasks/{id}/rerun",
        "/api/v1/tasks/FAILED/rerun",
        "",
    ),
    ("GET", "/api/v1/stats", "/api/v1/stats", ""),
    (
        "PUT",
        "/api/v1/queues/{queue}",
        "/api/v1/queues/q",
        r#"{"strategy":"weighted"}"#,
    ),
    (
        "POST",
        "/api/v1/queues/{queue}/pause",
        "/api/v1/queues/q/pause",
        "",
    ),
    (
        "POST",
        "/api/v1/queues/{queue}/resume",
        "/api/v1/queues/q/resume",
        "",
    ),
    ("GET", "/api/v1/queues/{queue}", "/api/v1/queues/q", ""),
    ("GET", "/api/v1/queues", "/api/v1/queues", ""),
    ("GET", "/api/v1/nodes", "/api/v1/nodes", ""),
    (
        "POST",
        "/api/v1/nodes/{id}/drain",
        "/api/v1/nodes/w1/drain",
        "",
    ),
    ("POST", "/api/v1/locks/{key}", "/api/v1/locks/k", "{}"),
    (
        "PUT",
        "/api/v1/locks/{key}",
        "/api/v1/locks/k",
        r#"{"token":"00"}"#,
    ),
    ("GET", "/api/v1/session", "/api/v1/session", ""),
    ("GET", "/api/v1/audit", "/api/v1/audit", ""),
    ("GET", "/api/v1/history", "/api/v1/history?range=1h", ""),
    ("GET", "/livez", "/livez", ""),
    ("GET", "/readyz", "/readyz", ""),
    ("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", ""),
];

#[tokio::test]
async fn every_field_of_a_real_answer_is_described() {
    let router = Fake::default().router();
    let description = Description(get(&router, "/api/v1/openapi.json").await.json());
    let id = submitted(&router, TASK).await;
    let failed = submitted(&router, r#"{"type":"fail"}"#).await;
    get(&router, &format!("/api/v1/tasks/{failed}?wait=1s")).await;
    for (method, template, path, body) in CALLS {
        let path = path.replace("ID", &id).replace("FAILED", &failed);
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
