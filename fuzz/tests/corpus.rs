//! Whatever a fuzzer once found worth keeping is put to the test again, without a fuzzer.
#![allow(clippy::unwrap_used, reason = "a test panics when it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use windlass_fuzz::TARGETS;

/// What a target's corpus may have at most: it is kept for ever, and replayed with every change.
const FILES_MAX: usize = 30;
const BYTES_MAX: u64 = 100 * 1_024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    files
        .map(|it| it.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|it| it.name == name).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(folder("corpus").join(name))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing to replay");
    assert!(files.len() <= FILES_MAX, "{} files", files.len());
    let bytes: u64 = files.iter().map(|it| it.metadata().unwrap().len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    let fails = |file: &PathBuf| {
        let input = fs::read(file).unwrap();
        catch_unwind(AssertUnwindSafe(|| (target.check)(&input))).is_err()
    };
    files.retain(fails);
    assert!(files.is_empty(), "these broke a property: {files:?}");
}

macro_rules! replayed {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_binary_and_a_corpus_and_is_replayed() {
            let all: BTreeSet<String> = TARGETS.iter().map(|it| it.name.to_owned()).collect();
            let replayed = [$(stringify!($name)),*].map(str::to_owned);
            assert_eq!(BTreeSet::from(replayed), all);
            assert_eq!(names(&folder("fuzz_targets")), all);
            assert_eq!(names(&folder("corpus")), all);
        }
    };
}

replayed!(filter keys kv records scenario server view worker);
