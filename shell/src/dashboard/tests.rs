use std::collections::BTreeSet;
use std::path::Path as Folder;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use tower::ServiceExt as _;

use super::*;

async fn get_with(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::get(path);
    if let Some(tag) = tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    let response = routes::<()>()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

fn files_below(folder: &Folder, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn every_file_of_the_folder_is_served_and_no_other() {
    let mut found = BTreeSet::new();
    let folder = Folder::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard/assets");
    files_below(&folder, "", &mut found);
    assert!(found.remove("index.html"));
    let served: BTreeSet<_> = ASSETS.iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(served, found);
}

#[tokio::test]
async fn the_shell_leads_to_files_that_are_kept_for_ever() {
    let (status, headers, body) = get_with("/", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CACHE_CONTROL], CHECKED);
    assert!(!body.contains("{{"), "{body}");
    let links: Vec<_> = body
        .split('"')
        .filter(|part| part.starts_with("ui/"))
        .collect();
    let modules = ASSETS.iter().filter(|it| it.name.ends_with(".js"));
    assert_eq!(links.len(), 4 + modules.count(), "{body}");
    for link in links {
        let (status, headers, _) = get_with(&format!("/{link}"), None).await;
        assert_eq!(status, StatusCode::OK, "{link}");
        assert_eq!(headers[header::CACHE_CONTROL], KEPT, "{link}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{link}");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY, "{link}");
    }
}

#[tokio::test]
async fn a_known_shell_is_not_sent_again() {
    let (_, headers, _) = get_with("/", None).await;
    let tag = headers[header::ETAG].to_str().unwrap().to_owned();
    let (status, _, body) = get_with("/", Some(&format!("\"older\", {tag}"))).await;
    assert_eq!((status, &*body), (StatusCode::NOT_MODIFIED, ""));
    let (status, _, _) = get_with("/", Some("\"older\"")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn files_of_another_version_are_not_kept_and_strangers_are_not_found() {
    let (status, headers, _) = get_with("/ui/0000/main.js", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let (status, _, _) = get_with("/ui/0000/../mod.rs", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[test]
fn every_import_leads_to_a_file() {
    for asset in ASSETS.iter().filter(|it| it.name.ends_with(".js")) {
        let text = std::str::from_utf8(asset.body).unwrap();
        let folder = asset.name.rsplit_once('/').map_or("", |it| it.0);
        for line in text.lines() {
            let Some((_, from)) = line.split_once(" from '") else {
                continue;
            };
            let Some((target, _)) = from.split_once("';") else {
                continue;
            };
            let target = match target.strip_prefix("../") {
                Some(above) => above.to_owned(),
                None if folder.is_empty() => target.trim_start_matches("./").to_owned(),
                None => format!("{folder}/{}", target.trim_start_matches("./")),
            };
            assert!(
                ASSETS.iter().any(|it| it.name == target),
                "{} imports {target}",
                asset.name
            );
        }
    }
}

#[test]
fn no_script_makes_markup_from_text() {
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ];
    for asset in ASSETS.iter().filter(|it| it.name.ends_with(".js")) {
        let text = std::str::from_utf8(asset.body).unwrap();
        for word in forbidden {
            assert!(!text.contains(word), "{} has {word}", asset.name);
        }
    }
}
