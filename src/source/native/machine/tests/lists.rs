//! Lists: when they are needed again, and how they are streamed.

use super::*;

// === lists that are needed again ===

#[test]
fn an_expired_version_is_never_asked_for_again() {
    // At the start of a watch, and within one.
    let start: fn(&mut Scenario) = |scenario| {
        scenario.over(RequestError::Regular);
        scenario.watches("6");
        scenario.over(refused(410));
    };
    let within: fn(&mut Scenario) = |scenario| {
        let end = scenario.line(error(410)).unwrap();
        scenario.over(end);
    };
    for expire in [start, within] {
        let mut scenario = Scenario::following();
        scenario.line(added("b", "6"));
        scenario.sent();
        expire(&mut scenario);
        assert_eq!(scenario.next(), "page 500", "the first time at once");
        scenario.page(&["b"], "9", None);
        assert_eq!(scenario.sent(), "init +b done");
        assert_eq!(scenario.next(), "watch 9");
    }
}

#[test]
fn a_list_that_follows_a_list_without_an_event_waits_four_times_what_the_last_one_took() {
    for (took, pause) in [(0, 30), (5, 30), (10, 40), (60, 240), (200, 600)] {
        let mut scenario = Scenario::new(ListMode::Pages);
        scenario.next();
        scenario.page(&["a"], "4", Some("t"));
        scenario.now += took * SECOND;
        scenario.next();
        scenario.page(&["b"], "5", None);
        let mut waits = Vec::new();
        for _ in 0..3 {
            assert_eq!(scenario.next(), "watch 5");
            scenario.opened();
            // No event: it says nothing of an object.
            scenario.line(bookmark("6"));
            let end = scenario.line(error(410)).unwrap();
            scenario.over(end);
            waits.push(scenario.wait().as_secs());
            assert_eq!(scenario.next(), "page 500");
            scenario.page(&["a"], "4", Some("t"));
            scenario.now += took * SECOND;
            scenario.next();
            scenario.page(&["b"], "5", None);
        }
        assert_eq!(waits, [pause; 3], "{took}");
    }
}

#[test]
fn the_time_since_the_last_list_is_a_part_of_the_pause() {
    let mut scenario = Scenario::following();
    scenario.now += 29 * SECOND;
    scenario.over(refused(410));
    assert_eq!(scenario.wait(), SECOND);
    let mut scenario = Scenario::following();
    scenario.now += 31 * SECOND;
    scenario.over(refused(410));
    assert_eq!(scenario.wait(), Duration::ZERO);
}

#[test]
fn with_events_between_them_lists_take_a_fifth_of_the_time() {
    let mut scenario = Scenario::following();
    let mut listing = Duration::ZERO;
    let start = scenario.now;
    for n in 0..40 {
        scenario.line(added("b", &format!("{}", 10 + n)));
        scenario.over(refused(410));
        let wait = scenario.wait();
        assert!(n > 0 || wait == Duration::ZERO, "the first one at once");
        assert_eq!(scenario.next(), "page 500");
        scenario.now += 10 * SECOND;
        listing += 10 * SECOND;
        scenario.page(&["a"], "5", None);
        scenario.wait();
        scenario.watches("5");
        scenario.opened();
    }
    let share = listing.as_secs_f64() / (scenario.now - start).as_secs_f64();
    assert!((0.15..=0.22).contains(&share), "{share}");
}

#[test]
fn a_server_that_has_gone_back_is_listed_again() {
    let mut scenario = Scenario::following();
    scenario.line(added("b", "10"));
    scenario.over(RequestError::Regular);
    assert_eq!(scenario.next(), "version");
    let end = scenario.machine.checked("9").unwrap_err();
    scenario.over(end);
    assert_eq!(
        scenario.notes(),
        ["lists again: the server is at version 9, before 10"]
    );
    assert_eq!(scenario.next(), "page 500");
    scenario.page(&["a"], "9", None);
    assert_eq!(scenario.next(), "watch 9");
}

#[test]
fn versions_that_are_no_numbers_are_not_compared() {
    let mut scenario = Scenario::following();
    scenario.line(added("b", "x10"));
    scenario.over(RequestError::Regular);
    scenario.next();
    assert_eq!(scenario.machine.checked("x9"), Ok(()));
    assert_eq!(scenario.next(), "watch x10");
}

#[test]
fn what_is_no_json_is_skipped_by_a_list() {
    let mut scenario = Scenario::following();
    scenario.line(added("b", "6"));
    let end = scenario.line(Line::InvalidJson).unwrap();
    scenario.over(end);
    assert_eq!(scenario.next(), "page 500");
}

// === streamed lists ===

fn unknown_parameter(code: u16) -> RequestError {
    RequestError::Refused(Refusal {
        code,
        words: "sendInitialEvents: Forbidden".to_owned(),
        retry_after: None,
    })
}

#[test]
fn a_server_that_refuses_to_stream_a_list_is_asked_for_pages_at_once() {
    for end in [unknown_parameter(422), unknown_parameter(400)] {
        let mut scenario = Scenario::new(ListMode::Auto);
        assert_eq!(scenario.next(), "stream");
        scenario.over(end.clone());
        assert_eq!(scenario.next(), "page 500");
        assert_eq!(scenario.machine.streams(), Some(false));
        assert!(scenario.notes().is_empty());
        let mut scenario = Scenario::new(ListMode::WatchList);
        scenario.next();
        scenario.over(end);
        assert_eq!(scenario.next(), "wait 800ms", "pages were ruled out");
    }
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.over(refused(400));
    assert_eq!(
        scenario.next(),
        "wait 800ms",
        "this is about something else"
    );
}

#[test]
fn what_others_have_learned_about_the_server_is_heeded() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.known = Some(false);
    assert_eq!(scenario.next(), "page 500");
    let mut scenario = Scenario::new(ListMode::WatchList);
    scenario.known = Some(false);
    assert_eq!(scenario.next(), "stream");
}

#[test]
fn a_list_without_an_end_mark_is_made_again_in_pages_and_leaves_no_gap() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    scenario.line(added("a", "1"));
    scenario.now += 9 * SECOND;
    scenario.line(added("b", "2"));
    // What happens now is no first event, and prolongs nothing.
    for _ in 0..9 {
        scenario.line(modified("a", "3"));
        scenario.line(added("c", "4"));
        scenario.line(deleted("b", "5"));
        scenario.line(bookmark("6"));
        scenario.now += SECOND;
    }
    let (waited, end) = scenario.silence();
    assert_eq!((waited, &end), (SECOND, &RequestError::NoEndMark));
    scenario.over(end);
    assert_eq!(scenario.next(), "page 500");
    scenario.page(&["a", "c"], "6", None);
    let sent = scenario.sent();
    assert!(sent.ends_with("init +a +c done"), "{sent}");
    assert!(!sent.contains("delete"), "{sent}");
    assert_eq!(scenario.machine.streams(), Some(false));
    assert_eq!(scenario.notes(), ["well after 0"]);
}

#[test]
fn a_list_with_nothing_in_it_and_no_end_mark_ends_too() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    assert_eq!(scenario.silence(), (10 * SECOND, RequestError::NoEndMark));
}

#[test]
fn a_delete_before_the_end_mark_is_sent_behind_it() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    for line in [
        added("a", "1"),
        added("b", "2"),
        deleted("a", "3"),
        added("c", "4"),
        end_mark("4"),
    ] {
        assert_eq!(scenario.line(line), None);
    }
    assert_eq!(scenario.sent(), "init +a +b +c done delete a");
}

#[test]
fn a_list_of_deletes_is_no_list() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    let mut ends =
        (0..=streaming::MAX_EARLY_DELETES).filter_map(|_| scenario.line(deleted("a", "1")));
    assert_eq!(ends.next(), Some(RequestError::NoEndMark));
}

#[test]
fn a_list_that_lasts_longer_than_a_watch_may_is_made_in_pages() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    scenario.now += 300 * SECOND;
    scenario.over(RequestError::Regular);
    assert_eq!(scenario.next(), "page 500");
}
