//! How full a member is, as its own metrics tell everybody: with logins on, releases since 3.5.28 tell only root by gRPC.

use std::future::poll_fn;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};
use http::{Request, Uri};
use tonic::body::Body;
use tower::Service as _;
use windlass_core::store::Usage;

use super::members::Line;

/// The longest text that is read; a member's usual one has some 200 kB.
const LENGTH_MAX: usize = 8 * 1_024 * 1_024;

const SIZE: &str = "etcd_mvcc_db_total_size_in_bytes";
const USED: &str = "etcd_mvcc_db_total_size_in_use_in_bytes";
const QUOTA: &str = "etcd_server_quota_backend_bytes";

/// How full the member at the other end of `line` is.
pub(super) async fn usage(line: Line) -> anyhow::Result<Usage> {
    let address: Uri = format!("{}/metrics", line.url()).parse()?;
    let text = match line.url().starts_with("https:") {
        true => by_http_2(line, address).await?,
        false => by_http_1(&address).await?,
    };
    read(&text)
}

/// By the connection that there is, with its certificates.
async fn by_http_2(line: Line, address: Uri) -> anyhow::Result<String> {
    let mut channel = line.channel.clone();
    poll_fn(|cx| channel.poll_ready(cx)).await?;
    let request = Request::get(address).body(Body::empty())?;
    let answer = channel.call(request).await?;
    if !answer.status().is_success() {
        bail!("it answers {}", answer.status());
    }
    let body = axum::body::Body::new(answer.into_body());
    let bytes = axum::body::to_bytes(body, LENGTH_MAX).await?;
    Ok(String::from_utf8(bytes.into())?)
}

/// Where no certificates divide the two, etcd takes every request of HTTP/2 for gRPC.
async fn by_http_1(address: &Uri) -> anyhow::Result<String> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let client = match CLIENT.get() {
        Some(client) => client,
        None => {
            crate::tls::name_provider();
            // In the clear: the system's certificates need not be there.
            let new = reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()?;
            CLIENT.get_or_init(|| new)
        }
    };
    let answer = client.get(address.to_string()).send().await?;
    Ok(answer.error_for_status()?.text().await?)
}

fn read(text: &str) -> anyhow::Result<Usage> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, value) = lines.find(|(found, _)| *found == name).context("no size")?;
        value.trim().parse::<f64>().context("a size is no number")
    };
    // Sizes of files are far below where a double stops counting bytes.
    let bytes = |value: f64| value.max(0.0) as u64;
    let (size, quota) = (bytes(value(SIZE)?), value(QUOTA)?);
    Ok(Usage {
        used: bytes(value(USED)?),
        size,
        // A negative one is none.
        quota: (quota > 0.0).then(|| bytes(quota)),
        full: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_quota_are_found_among_the_others() {
        let text = "# TYPE etcd_mvcc_db_total_size_in_bytes gauge\n\
            etcd_mvcc_db_total_size_in_bytes 2.5e+07\n\
            etcd_mvcc_db_total_size_in_use_in_bytes 81920\n\
            etcd_server_quota_backend_bytes_of_another 5\n\
            etcd_server_quota_backend_bytes 2.147483648e+09\n";
        let told = Usage {
            used: 81_920,
            size: 25_000_000,
            quota: Some(2_147_483_648),
            full: false,
        };
        assert_eq!(read(text).unwrap(), told);
    }

    #[test]
    fn a_quota_below_zero_is_none_and_a_text_without_sizes_tells_nothing() {
        let text = format!("{SIZE} 1\n{USED} 1\n{QUOTA} -1\n");
        assert_eq!(read(&text).unwrap().quota, None);
        assert!(read("up 1\n").is_err());
    }
}
