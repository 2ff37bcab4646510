//! Talks to servers over HTTP, from Rust.

mod error;
pub(crate) mod transport;

pub use self::error::{ClientError, ErrorKind};
pub use self::transport::ServerUrl;
