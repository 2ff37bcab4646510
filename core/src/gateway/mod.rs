//! The gateway: what clients may ask, and how it becomes transactions.

mod request;

pub use self::request::{
    Due, Filter, IdempotencyKey, LockToken, NodeView, QueueView, Reply, Request, RequestId,
    StatsView, Submitted, TaskSpec, TaskState, TaskView, UnknownState, Why, WhyReason,
};
