//! Handlers as services, so that what every program needs around them can be put around them in tower's manner.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};
use windlass_core::record::Json;

use super::context::Context;
use super::failure::TaskError;
use super::handlers::{parse, spell};

/// An attempt on its way to its handler.
#[derive(Debug)]
pub struct TaskRequest {
    payload: Json,
    context: Context,
}

impl TaskRequest {
    pub(crate) fn new(payload: Json, context: Context) -> Self {
        Self { payload, context }
    }

    /// What the handler gets.
    pub fn payload(&self) -> &Json {
        &self.payload
    }

    /// The attempt: its task, its type, its fence and what else the handler sees.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The same attempt with another payload: for layers that decrypt or unpack.
    #[must_use]
    pub fn with_payload(self, payload: Json) -> Self {
        Self { payload, ..self }
    }

    /// The payload and the attempt.
    pub fn into_parts(self) -> (Json, Context) {
        (self.payload, self.context)
    }
}

/// What an attempt came to: its result as JSON, or its failure.
pub type Outcome = Result<Json, TaskError>;

/// A handler, and what stands around it.
pub type TaskService = BoxCloneSyncService<TaskRequest, Json, TaskError>;

/// Makes a service of a handler. A payload that is no `T` fails the task for good.
pub(crate) fn service<T, R, F, Fut>(handler: F) -> TaskService
where
    T: DeserializeOwned + Send + 'static,
    R: Serialize,
    F: Fn(T, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
{
    let handler = Arc::new(handler);
    BoxCloneSyncService::new(service_fn(move |request: TaskRequest| {
        let handler = Arc::clone(&handler);
        async move {
            let (payload, context) = request.into_parts();
            let payload = parse::<T>(&payload, context.kind())?;
            spell(&handler(payload, context).await?)
        }
    }))
}

/// A layer without its type.
#[derive(Clone)]
pub(crate) struct AnyLayer(Arc<dyn Fn(TaskService) -> TaskService + Send + Sync>);

impl AnyLayer {
    pub(crate) fn new<L>(layer: L) -> Self
    where
        L: Layer<TaskService> + Send + Sync + 'static,
        L::Service: Service<TaskRequest, Response = Json> + Clone + Send + Sync + 'static,
        <L::Service as Service<TaskRequest>>::Error: Into<Box<dyn Error + Send + Sync>>,
        <L::Service as Service<TaskRequest>>::Future: Send + 'static,
    {
        Self(Arc::new(move |inner| {
            let layered = layer.layer(inner);
            BoxCloneSyncService::new(layered.map_err(|error| TaskError::of_layer(error.into())))
        }))
    }

    pub(crate) fn around(&self, inner: TaskService) -> TaskService {
        (self.0)(inner)
    }
}

impl fmt::Debug for AnyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyLayer")
    }
}
