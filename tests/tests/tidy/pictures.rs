//! The pictures of the guide: small, all shown, none missing.

use std::collections::BTreeMap;
use std::fs;

use crate::source::{Source, root};

const FOLDER: &str = "docs/guide/src/pictures";
/// Every clone carries them for ever.
const BYTES_MAX: u64 = 150_000;
const BYTES_IN_ALL_MAX: u64 = 700_000;

/// What is wrong with `pictures`, by name with their bytes, and with the texts that show them.
fn findings(pictures: &BTreeMap<String, u64>, texts: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut shown = Vec::new();
    for text in texts.iter().filter(|it| it.path.ends_with(".md")) {
        for after in text.text.split("pictures/").skip(1) {
            let end = after
                .find(['"', ')', ' ', '\n', '`'])
                .unwrap_or(after.len());
            let name = &after[..end];
            if name.ends_with(".webp") && !pictures.contains_key(name) {
                found.push(format!("{}: there is no picture {name}", text.path));
            }
            shown.push(name.to_owned());
        }
    }
    for (name, bytes) in pictures {
        if *bytes > BYTES_MAX {
            found.push(format!("{name} has {bytes} bytes, more than {BYTES_MAX}"));
        }
        if !shown.contains(name) {
            found.push(format!("{name} is shown nowhere"));
        }
    }
    let all: u64 = pictures.values().sum();
    if all > BYTES_IN_ALL_MAX {
        found.push(format!(
            "{all} bytes of pictures, more than {BYTES_IN_ALL_MAX}"
        ));
    }
    found
}

#[test]
fn pictures_are_small_and_all_of_them_are_shown() {
    let folder = fs::read_dir(root().join(FOLDER)).expect("the guide has pictures");
    let pictures = folder.map(|entry| {
        let entry = entry.expect("a folder can be read");
        let bytes = entry.metadata().expect("a file has a size").len();
        (entry.file_name().to_string_lossy().into_owned(), bytes)
    });
    let found = findings(&pictures.collect(), &Source::all());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_missing_a_large_and_an_unseen_picture_are_found() {
    let text = "![a](pictures/a.webp) <img src=\"pictures/gone.webp\">";
    let texts = [Source::new("docs/a.md", text)];
    let sizes = [
        ("a.webp", 1_000),
        ("unseen.webp", 10),
        ("large.webp", 800_000),
    ];
    let pictures = sizes.map(|(name, bytes)| (name.to_owned(), bytes)).into();
    // One is missing, two are not shown, one is too large, and so are all together.
    assert_eq!(findings(&pictures, &texts).len(), 5);
}
