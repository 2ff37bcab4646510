//! How the port reaches the members: the real client and the real HTTP/2, over simulated connections.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tonic::codegen::http::Uri;
use tonic::transport::Endpoint;
use tower::util::service_fn;
use turmoil::net::TcpStream;
use windlass::store::etcd::Dial;

use super::served::PORT;

pub(crate) fn name(member: usize) -> String {
    format!("member-{member}")
}

/// A connection to one member, as a client's host opens it.
async fn open(uri: Uri) -> std::io::Result<TokioIo<TcpStream>> {
    let host = uri.host().expect("members have names").to_owned();
    TcpStream::connect((host, PORT)).await.map(TokioIo::new)
}

/// The simulated network, for the port.
pub(crate) fn dial() -> Dial {
    Arc::new(|endpoint: &Endpoint| endpoint.connect_with_connector_lazy(service_fn(open)))
}
