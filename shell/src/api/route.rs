//! One route: how it is called, what it needs, who serves it, and what it says of itself.

use axum::extract::State;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{self, MethodRouter};
use utoipa::ToSchema;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Ref, RefOr, Required, Schema};

use super::App;
use super::access::Access;

/// The name of the header's way to show a token, in the description.
pub(super) const BEARER: &str = "bearer";
/// The name of the cookie's way.
pub(super) const SESSION: &str = "session";

/// What every route that needs a role may answer, besides its own.
const OF_THE_GATE: [u16; 3] = [401, 403, 429];

/// How much of a server a request needs. Under overload the costly ones are turned away first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// A few records, or none.
    Small,
    /// Perhaps very many records: so many of them at a time as [`Limits`](super::Limits) says.
    Large,
}

/// A route of the table.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What it needs of whoever asks.
    pub(super) access: Access,
    /// How much it may need of the server.
    pub(super) cost: Cost,
    /// Who serves it.
    pub(super) handler: MethodRouter<App>,
    /// What it says of itself.
    pub(super) operation: OperationBuilder,
    /// What its parameters, bodies and answers are made of.
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    fn new(
        method: Method,
        path: &'static str,
        access: Access,
        (id, summary): (&str, &str),
        handler: MethodRouter<App>,
    ) -> Self {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(id))
            .summary(Some(summary));
        if access == Access::Open {
            operation = operation.security(SecurityRequirement::default());
        } else {
            operation = operation
                .description(Some(format!("Needs: {access}.")))
                .security(SecurityRequirement::new(BEARER, [""; 0]))
                .security(SecurityRequirement::new(SESSION, [""; 0]));
        }
        let route = Self {
            method,
            path,
            access,
            cost: Cost::Small,
            handler,
            operation,
            schemas: Vec::new(),
        };
        if access == Access::Open {
            route
        } else {
            route.refuses(&OF_THE_GATE)
        }
    }

    /// A route that looks.
    pub(super) fn get<H: Handler<T, App>, T: 'static>(
        path: &'static str,
        access: Access,
        says: (&str, &str),
        handler: H,
    ) -> Self {
        Self::new(Method::GET, path, access, says, routing::get(handler))
    }

    /// A route that acts.
    pub(super) fn post<H: Handler<T, App>, T: 'static>(
        path: &'static str,
        access: Access,
        says: (&str, &str),
        handler: H,
    ) -> Self {
        Self::new(Method::POST, path, access, says, routing::post(handler))
    }

    /// A route that sets.
    pub(super) fn put<H: Handler<T, App>, T: 'static>(
        path: &'static str,
        access: Access,
        says: (&str, &str),
        handler: H,
    ) -> Self {
        Self::new(Method::PUT, path, access, says, routing::put(handler))
    }

    /// A route that removes.
    pub(super) fn delete<H: Handler<T, App>, T: 'static>(
        path: &'static str,
        access: Access,
        says: (&str, &str),
        handler: H,
    ) -> Self {
        Self::new(Method::DELETE, path, access, says, routing::delete(handler))
    }

    /// What its summary has no room for.
    pub(super) fn explains(mut self, about: &str) -> Self {
        let needs = match self.access {
            Access::Open => String::new(),
            Access::Read | Access::Submit | Access::Work | Access::Operate | Access::Admin => {
                format!(" Needs: {}.", self.access)
            }
        };
        self.operation = self.operation.description(Some(format!("{about}{needs}")));
        self
    }

    /// It may need very much of the server.
    pub(super) fn costly(self) -> Self {
        Self {
            cost: Cost::Large,
            ..self
        }
    }

    fn reference<T: ToSchema>(&mut self) -> Ref {
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(name)
    }

    fn parameter<T: ToSchema>(mut self, place: ParameterIn, name: &str, about: &str) -> Self {
        let required = if matches!(place, ParameterIn::Path) {
            Required::True
        } else {
            Required::False
        };
        let schema = self.reference::<T>();
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(about))
            .schema(Some(schema));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// The variable of its path is a `T`.
    pub(super) fn variable<T: ToSchema>(self, name: &str, about: &str) -> Self {
        self.parameter::<T>(ParameterIn::Path, name, about)
    }

    /// It takes this parameter in its query.
    pub(super) fn query<T: ToSchema>(self, name: &str, about: &str) -> Self {
        self.parameter::<T>(ParameterIn::Query, name, about)
    }

    /// It takes this header.
    pub(super) fn header<T: ToSchema>(self, name: &str, about: &str) -> Self {
        self.parameter::<T>(ParameterIn::Header, name, about)
    }

    fn body<T: ToSchema>(mut self, required: Required) -> Self {
        let content = Content::new(Some(self.reference::<T>()));
        let body = RequestBodyBuilder::new()
            .required(Some(required))
            .content("application/json", content)
            .build();
        self.operation = self.operation.request_body(Some(body));
        self
    }

    /// It takes a body, which is a `T`.
    pub(super) fn takes<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::True)
    }

    /// It takes a body, which is a `T`, or none.
    pub(super) fn may_take<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::False)
    }

    /// It answers a `T` as JSON.
    pub(super) fn answers<T: ToSchema>(self, status: StatusCode, about: &str) -> Self {
        self.answers_as::<T>(status, about, "application/json")
    }

    /// It answers a `T` that is spelled otherwise.
    pub(super) fn answers_as<T: ToSchema>(
        mut self,
        status: StatusCode,
        about: &str,
        kind: &str,
    ) -> Self {
        let content = Content::new(Some(self.reference::<T>()));
        let response = ResponseBuilder::new()
            .description(about)
            .content(kind, content);
        self.operation = self.operation.response(status.as_str(), response);
        self
    }

    /// It may answer a problem with any of these.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.operation = self
                .operation
                .response(status.to_string(), Ref::from_response_name("Problem"));
        }
        self
    }
}

/// The state that handlers take.
pub(super) type AppState = State<App>;
