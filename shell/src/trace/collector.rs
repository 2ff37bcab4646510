//! Where spans are exported to.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// An OpenTelemetry collector that takes OTLP over gRPC, named by its URL: `http://127.0.0.1:4317`.
#[derive(Clone, PartialEq, Eq)]
pub struct Collector(String);

/// Why spans cannot be exported there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectorError {
    /// Not a URL of a collector.
    #[error(
        "a collector is named by its URL, such as http://127.0.0.1:4317 or https://otlp.example.org"
    )]
    NoUrl,
    /// A path, or a query.
    #[error(
        "OTLP over gRPC has no path: name the collector as http://127.0.0.1:4317, not with {0:?} behind it"
    )]
    Path(String),
    /// A user in the URL.
    #[error("a URL is no place for secrets: put headers into OTEL_EXPORTER_OTLP_HEADERS")]
    Secret,
    /// The environment asks for what there is not, or the machine has no certificates to trust.
    #[error("spans cannot be exported: {0}")]
    Setting(String),
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let uri: Uri = text.parse().map_err(|_| CollectorError::NoUrl)?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let Some(authority) = uri.authority().filter(|_| known) else {
            return Err(CollectorError::NoUrl);
        };
        if authority.as_str().contains('@') {
            return Err(CollectorError::Secret);
        }
        if authority.host().is_empty() {
            return Err(CollectorError::NoUrl);
        }
        match uri.path_and_query().map_or("/", |it| it.as_str()) {
            "" | "/" => Ok(Self(text.to_owned())),
            path => Err(CollectorError::Path(path.to_owned())),
        }
    }
}

impl Collector {
    /// A connection that is made when it is needed, and again when it was lost.
    pub(super) fn channel(&self, answer_max: Duration) -> Result<Channel, CollectorError> {
        let setting = |error: tonic::transport::Error| CollectorError::Setting(error.to_string());
        let mut endpoint = Endpoint::from_shared(self.0.clone())
            .map_err(setting)?
            .connect_timeout(CONNECT_MAX)
            .timeout(answer_max);
        if self.0.starts_with("https:") {
            let trust = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(trust).map_err(setting)?;
        }
        Ok(endpoint.connect_lazy())
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_scheme_and_host() {
        for text in [
            "http://127.0.0.1:4317",
            "http://collector:4317/",
            "https://otlp.example.org",
            "http://[::1]:4317",
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_none_is_refused_with_the_reason() {
        for text in [
            "",
            "collector",
            "collector:4317",
            "grpc://collector:4317",
            "http://",
            "/v1",
        ] {
            assert_eq!(
                text.parse::<Collector>(),
                Err(CollectorError::NoUrl),
                "{text}"
            );
        }
        let path = "http://collector:4318/v1/traces".parse::<Collector>();
        assert_eq!(path, Err(CollectorError::Path("/v1/traces".to_owned())));
        let secret = "http://me:word@collector:4317".parse::<Collector>();
        assert_eq!(secret, Err(CollectorError::Secret));
    }
}
