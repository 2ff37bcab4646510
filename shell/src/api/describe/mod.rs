//! The API's description (OpenAPI 3.1), made of the route table and of the types that are answered.

pub(super) mod types;

use std::collections::BTreeMap;

use axum::http::Method;
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, HttpMethod, InfoBuilder, License, OpenApi, OpenApiBuilder, Ref,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::Problem;
use super::route::{BEARER, Route, SESSION};

const ABOUT: &str = "A distributed task scheduler. Durations are strings such as `30s`, times RFC 3339 in UTC. Unknown and \
repeated fields and parameters are refused. Every error is a problem document (RFC 9457) that names the field and the reason.\n\n\
`X-Request-Id` names a request, in answers and in the server's log; it is made up when it is not given. Where tokens are \
required each operation says which role it needs. Submitting one task takes an `Idempotency-Key`; every other operation \
may be repeated as it is: cancel, pause, resume, drain and the settings of a queue have the same result twice, a rerun of \
a task that waits already is refused, and a lock is renewed and released by its token.\n\n\
Operations that change what others have handed in take a reason for the audit log in `X-Windlass-Reason`.";

/// The document that describes `routes`.
pub(super) fn document(routes: Vec<Route>) -> OpenApi {
    let mut schemas: BTreeMap<String, _> = BTreeMap::new();
    let mut nested = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut nested);
    let mut paths = PathsBuilder::new();
    for route in routes {
        nested.extend(route.schemas);
        let operation = route.operation.build();
        paths = paths.path(route.path, PathItem::new(method(&route.method), operation));
    }
    for (name, schema) in nested {
        let other = schemas.insert(name.clone(), schema.clone());
        assert!(
            other.is_none_or(|other| other == schema),
            "two types are called {name}"
        );
    }
    let problem = ResponseBuilder::new()
        .description("An error (RFC 9457).")
        .content(
            "application/problem+json",
            Content::new(Some(Ref::from_schema_name(Problem::name()))),
        );
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of `windlass token new`."))
        .build();
    let session = ApiKeyValue::with_description(
        "windlass_token",
        "The cookie of a session, which POST /api/v1/session begins.",
    );
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .response("Problem", problem)
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(session)))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Windlass")
                .version("1")
                .description(Some(ABOUT))
                .license(Some(License::new("Apache-2.0")))
                .build(),
        )
        .paths(paths)
        .components(Some(components))
        .build()
}

fn method(method: &Method) -> HttpMethod {
    match method.as_str() {
        "GET" => HttpMethod::Get,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        other => {
            assert_eq!(other, "POST", "the table has no other method");
            HttpMethod::Post
        }
    }
}

#[cfg(test)]
mod tests;
