//! Whatever a server does, and in whatever order.

use proptest::prelude::*;

use super::*;

/// What the server, or the way to it, does when it has the word.
#[derive(Clone, Debug)]
enum Act {
    Line(Said, u8),
    End(Fault),
    /// For pages: whether there is another one.
    Page(bool, u8),
    Silence,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Added,
    Modified,
    Deleted,
    Bookmark,
    EndMark,
    Error(u16),
    InvalidJson,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Regular,
    Cut,
    Unreachable,
    Refused(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let code = prop_oneof![
        Just(400),
        Just(401),
        Just(403),
        Just(410),
        Just(422),
        Just(429),
        Just(500)
    ];
    let said = prop_oneof![
        4 => Just(Said::Added),
        2 => Just(Said::Modified),
        2 => Just(Said::Deleted),
        2 => Just(Said::Bookmark),
        3 => Just(Said::EndMark),
        1 => code.clone().prop_map(Said::Error),
        1 => Just(Said::InvalidJson),
    ];
    let fault = prop_oneof![
        Just(Fault::Regular),
        Just(Fault::Cut),
        Just(Fault::Unreachable),
        code.prop_map(Fault::Refused),
    ];
    let act = prop_oneof![
        6 => (said, 1..9_u8).prop_map(|(said, version)| Act::Line(said, version)),
        2 => fault.prop_map(Act::End),
        3 => (any::<bool>(), 1..9_u8).prop_map(|(more, version)| Act::Page(more, version)),
        1 => Just(Act::Silence),
    ];
    proptest::collection::vec(act, 1..120)
}

fn line(said: Said, version: &str) -> Line<'_, &'static str> {
    match said {
        Said::Added => added("a", version),
        Said::Modified => modified("a", version),
        Said::Deleted => deleted("a", version),
        Said::Bookmark => bookmark(version),
        Said::EndMark => end_mark(version),
        Said::Error(code) => error(code),
        Said::InvalidJson => Line::InvalidJson,
    }
}

fn end(fault: Fault) -> RequestError {
    match fault {
        Fault::Regular => RequestError::Regular,
        Fault::Cut => RequestError::Cut("cut".to_owned()),
        Fault::Unreachable => RequestError::Unreachable("gone".to_owned()),
        Fault::Refused(code) => refused(code),
    }
}

/// Plays the acts; gives the events, the requests without success between them that came with
/// no wait, and checks each request.
fn play(list: ListMode, acts: Vec<Act>) -> (String, u32) {
    let mut scenario = Scenario::new(list);
    let (mut in_a_row, mut most) = (0_u32, 0_u32);
    let mut acts = acts.into_iter().peekable();
    while acts.peek().is_some() {
        let sent = scenario.sent.len();
        let before = scenario.machine.version.clone();
        if scenario.wait() > Duration::ZERO {
            in_a_row = 0;
        }
        let ask = scenario.next();
        in_a_row += 1;
        most = most.max(in_a_row);
        assert_ne!(ask, "watch ", "a watch has a version");
        assert_ne!(ask, "watch 0");
        let opens = ask == "stream" || ask.starts_with("watch");
        let mut opened = false;
        let over = loop {
            match acts.next() {
                None => break None,
                Some(Act::End(fault)) => break Some(end(fault)),
                Some(Act::Silence) => {
                    let (waited, end) = scenario.silence();
                    if waited >= SECOND {
                        in_a_row = 0;
                    }
                    break Some(end);
                }
                Some(Act::Line(said, version)) if opens => {
                    if !std::mem::replace(&mut opened, true) {
                        scenario.opened();
                    }
                    if let Some(end) = scenario.line(line(said, &version.to_string())) {
                        break Some(end);
                    }
                }
                Some(Act::Page(more, version)) if ask.starts_with("page") => {
                    let version = version.to_string();
                    let token = format!("t{}", scenario.sent.len());
                    scenario.page(&["a"], &version, more.then_some(token.as_str()));
                    break None;
                }
                Some(Act::Page(_, version)) if ask.starts_with("version") => {
                    break scenario.machine.checked(&version.to_string()).err();
                }
                // Not an answer to this request.
                Some(Act::Line(..) | Act::Page(..)) => {}
            }
        };
        if scenario.sent.len() > sent || scenario.machine.version != before {
            in_a_row = 0;
        }
        if let Some(end) = over {
            scenario.over(end);
        }
    }
    (scenario.sent(), most)
}

proptest! {
    #[test]
    fn the_events_keep_the_protocol_of_lists(acts in acts(), pages in any::<bool>()) {
        let list = if pages { ListMode::Pages } else { ListMode::Auto };
        let (sent, _) = play(list, acts);
        let sent = sent.replace("apply a", "apply").replace("delete a", "delete");
        let (mut listing, mut listed) = (false, false);
        for event in sent.split_whitespace() {
            match event {
                "init" => listing = true,
                "done" => {
                    prop_assert!(listing, "{}", sent);
                    (listing, listed) = (false, true);
                }
                "+a" => prop_assert!(listing, "{}", sent),
                _ => prop_assert!(listed && !listing, "{}: {}", event, sent),
            }
        }
    }

    /// Reopening, a check, a list that is free once, another way to list, another token.
    #[test]
    fn without_success_there_are_few_requests_without_a_wait(
        acts in acts(),
        pages in any::<bool>(),
    ) {
        let list = if pages { ListMode::Pages } else { ListMode::Auto };
        let (sent, most) = play(list, acts);
        prop_assert!(most <= 8, "{} requests at once: {}", most, sent);
    }
}
