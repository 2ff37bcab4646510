//! The dashboard: files that a browser runs. They read and act through the API like every other client, so nothing here
//! knows a task. The files are part of the binary; nothing is fetched from anywhere else.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// What a page may do: run and style itself with our own files, talk to the server that it came from, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; \
    require-trusted-types-for 'script'";

/// A file under its content's hash never changes: a year is the longest that caches keep anything.
const KEPT: &str = "public, max-age=31536000, immutable";

/// Asked for anew each time; unchanged, it costs one answer without a body.
const CHECKED: &str = "no-cache";

/// Where the shell names the folder of this version's files.
const VERSION_MARK: &str = "{{version}}";

/// Where the shell names the modules, so that a browser asks for all of them at once instead of import by import.
const MODULES_MARK: &str = "{{modules}}";

/// The file that everything starts from.
const SHELL: &str = include_str!("assets/index.html");

/// A file that the shell leads to.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    body: &'static [u8],
}

macro_rules! assets {
    ($($name:literal)*) => {
        &[$(Asset { name: $name, body: include_bytes!(concat!("assets/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "api.js"
    "bulk.js"
    "charts.js"
    "dialogs.js"
    "dom.js"
    "format.js"
    "icon.svg"
    "json.js"
    "keys.js"
    "list.js"
    "live.js"
    "main.js"
    "pages/audit.js"
    "pages/dead.js"
    "pages/nodes.js"
    "pages/overview.js"
    "pages/queues.js"
    "pages/settings.js"
    "pages/sign_in.js"
    "pages/task.js"
    "pages/tasks.js"
    "parts.css"
    "query.js"
    "querybox.js"
    "reading.js"
    "route.js"
    "session.js"
    "settings.js"
    "style.css"
    "timeline.js"
    "why.js"
};

/// The shell as this version serves it, and the hash that names the version.
struct Built {
    version: String,
    shell: String,
}

static BUILT: LazyLock<Built> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(SHELL);
    for asset in ASSETS {
        hash.update(asset.name);
        hash.update(asset.body.len().to_le_bytes());
        hash.update(asset.body);
    }
    let mut version = String::new();
    for byte in &hash.finalize()[..8] {
        let _ = write!(version, "{byte:02x}");
    }
    let modules = ASSETS.iter().filter(|asset| asset.name.ends_with(".js"));
    let links: Vec<String> = modules
        .map(|it| {
            format!(
                "<link rel=\"modulepreload\" href=\"ui/{version}/{}\">",
                it.name
            )
        })
        .collect();
    let shell = SHELL
        .replace(MODULES_MARK, &links.join("\n"))
        .replace(VERSION_MARK, &version);
    Built { version, shell }
});

/// The routes of the dashboard. All of them are open: they hold no data.
///
/// The shell names its files relative to itself, so it works below any path that a proxy puts in front.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(shell))
        .route("/ui/{version}/{*name}", get(file))
}

async fn shell(headers: HeaderMap) -> Response {
    reply(
        "text/html; charset=utf-8",
        CHECKED,
        BUILT.shell.as_bytes(),
        &headers,
    )
}

/// A file of this version. A browser whose shell came from a scheduler of another version gets ours, and keeps it for
/// this once only.
async fn file(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "the dashboard has no such file").into_response();
    };
    let cache = if version == BUILT.version {
        KEPT
    } else {
        "no-store"
    };
    reply(content_type(asset.name), cache, asset.body, &headers)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

fn reply(
    kind: &'static str,
    cache: &'static str,
    body: &'static [u8],
    asked: &HeaderMap,
) -> Response {
    let tag = format!("\"{}\"", BUILT.version);
    let known = asked
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| {
            tags.split(',')
                .any(|it| it.trim().trim_start_matches("W/") == tag)
        });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (StatusCode::OK, body).into_response()
    };
    let fixed = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    // Weak: the same file may be sent compressed, or not.
    if let Ok(tag) = HeaderValue::from_str(&format!("W/{tag}")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests;
