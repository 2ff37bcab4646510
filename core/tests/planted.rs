//! The table of planted bugs and the places where they are planted name each other, and a build holds none by accident.

#![allow(clippy::unwrap_used, reason = "a test panics when it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use windlass_core::planted::{BUGS, Place, plant};

/// The names that a source gives to the macros which plant.
fn planted_in(text: &str) -> impl Iterator<Item = &str> {
    let arguments = text.split("planted!(").skip(1);
    arguments.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            names.extend(planted_in(&text).map(str::to_owned));
        }
    }
}

fn bugs_of_core() -> BTreeSet<String> {
    let here = |place: Place| matches!(place, Place::Core(_) | Place::Tested(_));
    let own = BUGS.iter().filter(|bug| here(bug.place));
    own.map(|bug| bug.name.to_owned()).collect()
}

#[test]
fn every_bug_of_the_core_is_planted_and_every_planted_bug_is_in_the_table() {
    let mut names = BTreeSet::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut names,
    );
    assert_eq!(names, bugs_of_core());
}

#[test]
fn a_name_is_found_on_the_same_line_and_on_the_next() {
    let text =
        "if planted!(\"A\") {}\nlet x = unless_planted!(\n    \"B\",\n guard);\nplanted!($name)";
    assert_eq!(planted_in(text).collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn every_bug_has_a_name_of_its_own_and_says_what_shows_it() {
    let names: BTreeSet<_> = BUGS.iter().map(|bug| bug.name).collect();
    assert_eq!(names.len(), BUGS.len());
    for bug in BUGS {
        let is_seen = match bug.place {
            Place::Core(_) | Place::Unbuilt(_) | Place::Impossible(_) => !bug.breaks.is_empty(),
            Place::Sim(_) | Place::Tested(_) | Place::Harmless(_) => bug.breaks.is_empty(),
        };
        assert!(
            is_seen && !bug.what.is_empty() && !bug.needs.is_empty(),
            "{}",
            bug.name
        );
        let is_rule = |rule: &&str| {
            let number = rule.strip_prefix(['S', 'L']);
            number.is_some_and(|it| it.parse::<u8>().is_ok())
        };
        assert!(bug.breaks.iter().all(is_rule), "{}", bug.name);
    }
}

#[test]
fn a_bug_that_only_a_test_shows_names_that_test() {
    let source = |module: &str| {
        let at = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(module.replace("::", "/"));
        let text = fs::read_to_string(at.with_extension("rs"));
        text.unwrap_or_else(|_| fs::read_to_string(at.join("mod.rs")).unwrap())
    };
    for bug in BUGS {
        if let Place::Tested(place) = bug.place {
            let (module, _) = place.rsplit_once("::").unwrap();
            let test = format!("    #[test]\n    fn {}()", bug.needs);
            assert!(source(module).contains(&test), "{}", bug.name);
        }
    }
}

#[test]
fn the_whole_list_of_the_reference_is_in_the_table() {
    let names: BTreeSet<_> = BUGS.iter().map(|bug| bug.name).collect();
    for number in 1..=36 {
        assert!(names.contains(&*format!("M-{number:02}")), "M-{number:02}");
    }
    assert!(names.contains("M-canary"));
}

#[cfg(not(planted_bug = "all"))]
#[test]
fn a_build_without_the_bugs_cannot_switch_one_on() {
    use windlass_core::planted::{PlantError, uproot};

    assert_eq!(plant("M-01"), Err(PlantError::NotCompiled));
    assert_eq!(uproot(), Err(PlantError::NotCompiled));
    assert_eq!(plant("M-00"), Err(PlantError::Unknown));
    assert_eq!(plant("M-canary"), Err(PlantError::Elsewhere));
}

#[cfg(planted_bug = "all")]
#[test]
fn one_bug_at_a_time_is_on() {
    use std::time::Duration;

    use windlass_core::planted::uproot;
    use windlass_core::retry::call_backoff;
    use windlass_core::rng::Rng;

    let wait = || call_backoff(Duration::from_secs(1), Duration::MAX, 0, &mut Rng::new(1));
    let jittered = wait();
    plant("M-29").unwrap();
    assert_eq!(wait(), Duration::from_secs(1));
    plant("M-18").unwrap();
    assert_eq!(wait(), jittered);
    plant("M-29").unwrap();
    uproot().unwrap();
    assert_eq!(wait(), jittered);
}
