use serde_json::json;

use super::*;

const FIRST: &str = "019aa000-0000-7000-8000-000000000000";
const SECOND: &str = "019aa000-0000-7000-8000-000000000001";

fn app(tab: Tab) -> App {
    let mut app = App::new(tab, String::new(), Look::plain());
    app.handle(Event::Queues(vec![
        json!({"name": "a", "paused": false}),
        json!({"name": "b", "paused": true}),
    ]));
    app.handle(Event::Nodes(vec![json!({"id": "w1", "role": "worker"})]));
    let tasks = [FIRST, SECOND].map(|id| json!({"id": id}));
    let (query, tasks) = (String::new(), tasks.to_vec());
    app.handle(Event::Tasks { query, tasks });
    app
}

/// What must be done when these keys are pressed; the last ones only.
fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for letter in keys.chars() {
        effects = app.handle(Event::Key(match letter {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            '\u{1b}' => Key::Escape,
            '\u{8}' => Key::Backspace,
            letter => Key::Char(letter),
        }));
    }
    effects
}

#[test]
fn tabs_are_chosen_by_number_and_in_turn_and_loaded() {
    let mut app = app(Tab::Overview);
    for (keys, tab) in [
        ("4", Tab::Tasks),
        ("\t", Tab::Overview),
        ("\t", Tab::Queues),
        ("3", Tab::Nodes),
    ] {
        assert_eq!(press(&mut app, keys), [Effect::Load]);
        assert_eq!(app.tab, tab);
    }
    app.handle(Event::Key(Key::BackTab));
    assert_eq!(app.tab, Tab::Queues);
}

#[test]
fn every_action_is_done_to_the_chosen_thing_once_it_is_confirmed() {
    for (tab, keys, action) in [
        (Tab::Queues, "p", Action::Pause("a".to_owned())),
        (Tab::Queues, "jp", Action::Resume("b".to_owned())),
        (Tab::Nodes, "d", Action::Drain("w1".to_owned())),
        (Tab::Tasks, "c", Action::Cancel(FIRST.to_owned())),
        (Tab::Tasks, "jr", Action::Rerun(SECOND.to_owned())),
    ] {
        let mut app = app(tab);
        assert_eq!(press(&mut app, keys), []);
        assert_eq!(app.mode, Mode::Confirm(action.clone()), "{keys}");
        assert_eq!(press(&mut app, "y"), [Effect::Act(action)]);
        for no in ["n", "\n", "\u{1b}", "q"] {
            press(&mut app, keys.trim_start_matches('j'));
            assert_eq!(press(&mut app, no), [], "{no:?}");
            assert_eq!(app.mode, Mode::Browse);
        }
    }
}

#[test]
fn a_key_of_another_tab_does_nothing() {
    for (tab, keys) in [
        (Tab::Overview, "pcrdw/\n"),
        (Tab::Queues, "crdw/"),
        (Tab::Nodes, "pcrw/"),
        (Tab::Tasks, "pd"),
    ] {
        for key in keys.chars() {
            let mut app = app(tab);
            assert_eq!(press(&mut app, &key.to_string()), [], "{tab:?} {key}");
            assert_eq!(app.mode, Mode::Browse, "{tab:?} {key}");
        }
    }
    let mut empty = App::new(Tab::Tasks, String::new(), Look::plain());
    assert_eq!(press(&mut empty, "cy"), []);
}

#[test]
fn a_query_is_typed_kept_or_given_up() {
    let mut app = app(Tab::Tasks);
    assert_eq!(press(&mut app, "/state:failedx\u{8}\n"), [Effect::Load]);
    assert_eq!(
        (app.query.as_str(), &app.mode),
        ("state:failed", &Mode::Browse)
    );
    assert_eq!(press(&mut app, "/ q\u{1b}"), []);
    assert_eq!(app.query, "state:failed");
    // An answer to an earlier query is not shown.
    app.handle(Event::Tasks {
        query: String::new(),
        tasks: vec![],
    });
    assert_eq!(app.data.tasks.len(), 2);
    let query = "state:failed".to_owned();
    app.handle(Event::Tasks {
        query,
        tasks: vec![],
    });
    assert!(app.data.tasks.is_empty());
}

#[test]
fn the_choice_stays_within_the_list_when_that_shrinks() {
    let mut app = app(Tab::Queues);
    press(&mut app, "jjjj");
    assert_eq!(app.line(), 1);
    app.handle(Event::Queues(vec![json!({"name": "a", "paused": false})]));
    assert_eq!(app.line(), 0);
    press(&mut app, "p");
    assert_eq!(app.mode, Mode::Confirm(Action::Pause("a".to_owned())));
}

#[test]
fn details_are_asked_for_read_and_left() {
    let mut app = app(Tab::Tasks);
    assert_eq!(press(&mut app, "\n"), [Effect::Show(FIRST.to_owned())]);
    assert_eq!(press(&mut app, "jw"), [Effect::Why(SECOND.to_owned())]);
    let lines = vec!["a".to_owned(), "b".to_owned()];
    app.handle(Event::Told {
        title: "t".to_owned(),
        lines,
    });
    press(&mut app, "jjj");
    assert!(matches!(app.mode, Mode::Read { from: 1, .. }));
    assert_eq!(press(&mut app, "q"), []);
    assert_eq!(app.mode, Mode::Browse);
    assert_eq!(press(&mut app, "q"), [Effect::Quit]);
}

#[test]
fn what_was_done_or_failed_is_told_until_the_next_key() {
    let mut app = app(Tab::Overview);
    assert_eq!(app.handle(Event::Done("x".to_owned())), [Effect::Load]);
    assert_eq!(app.message, Some(("x".to_owned(), true)));
    app.handle(Event::Failed("y".to_owned()));
    assert_eq!(app.message, Some(("y".to_owned(), false)));
    press(&mut app, "2");
    assert_eq!(app.message, None);
    app.handle(Event::Lost("z".to_owned()));
    assert_eq!(app.lost.as_deref(), Some("z"));
    app.handle(Event::Stats(json!({})));
    assert_eq!(app.lost, None);
    assert_eq!(app.handle(Event::Key(Key::Interrupt)), [Effect::Quit]);
}
