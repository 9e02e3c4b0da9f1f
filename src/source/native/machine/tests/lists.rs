//! Lists: when they are needed again, and how they are streamed.

use super::*;

// === lists that are needed again ===

#[test]
fn an_expired_version_is_never_asked_for_again() {
    // At the start of a watch, and within one.
    let start: fn(&mut Story) = |story| {
        story.over(RequestError::Regular);
        story.watches("6");
        story.over(refused(410));
    };
    let within: fn(&mut Story) = |story| {
        let end = story.line(error(410)).unwrap();
        story.over(end);
    };
    for expire in [start, within] {
        let mut story = Story::following();
        story.line(added("b", "6"));
        story.told();
        expire(&mut story);
        assert_eq!(story.next(), "page 500", "the first time at once");
        story.page(&["b"], "9", None);
        assert_eq!(story.told(), "init +b done");
        assert_eq!(story.next(), "watch 9");
    }
}

#[test]
fn a_list_that_follows_a_list_without_an_event_waits_four_times_what_the_last_one_took() {
    for (took, pause) in [(0, 30), (5, 30), (10, 40), (60, 240), (200, 600)] {
        let mut story = Story::new(ListMode::Pages);
        story.next();
        story.page(&["a"], "4", Some("t"));
        story.now += took * SECOND;
        story.next();
        story.page(&["b"], "5", None);
        let mut waits = Vec::new();
        for _ in 0..3 {
            assert_eq!(story.next(), "watch 5");
            story.opened();
            // No event: it says nothing of an object.
            story.line(bookmark("6"));
            let end = story.line(error(410)).unwrap();
            story.over(end);
            waits.push(story.wait().as_secs());
            assert_eq!(story.next(), "page 500");
            story.page(&["a"], "4", Some("t"));
            story.now += took * SECOND;
            story.next();
            story.page(&["b"], "5", None);
        }
        assert_eq!(waits, [pause; 3], "{took}");
    }
}

#[test]
fn the_time_since_the_last_list_is_a_part_of_the_pause() {
    let mut story = Story::following();
    story.now += 29 * SECOND;
    story.over(refused(410));
    assert_eq!(story.wait(), SECOND);
    let mut story = Story::following();
    story.now += 31 * SECOND;
    story.over(refused(410));
    assert_eq!(story.wait(), Duration::ZERO);
}

#[test]
fn with_events_between_them_lists_take_a_fifth_of_the_time() {
    let mut story = Story::following();
    let mut listing = Duration::ZERO;
    let start = story.now;
    for n in 0..40 {
        story.line(added("b", &format!("{}", 10 + n)));
        story.over(refused(410));
        let wait = story.wait();
        assert!(n > 0 || wait == Duration::ZERO, "the first one at once");
        assert_eq!(story.next(), "page 500");
        story.now += 10 * SECOND;
        listing += 10 * SECOND;
        story.page(&["a"], "5", None);
        story.wait();
        story.watches("5");
        story.opened();
    }
    let share = listing.as_secs_f64() / (story.now - start).as_secs_f64();
    assert!((0.15..=0.22).contains(&share), "{share}");
}

#[test]
fn a_server_that_has_gone_back_is_listed_again() {
    let mut story = Story::following();
    story.line(added("b", "10"));
    story.over(RequestError::Regular);
    assert_eq!(story.next(), "version");
    let end = story.machine.checked("9").unwrap_err();
    story.over(end);
    assert_eq!(
        story.notes(),
        ["lists again: the server is at version 9, before 10"]
    );
    assert_eq!(story.next(), "page 500");
    story.page(&["a"], "9", None);
    assert_eq!(story.next(), "watch 9");
}

#[test]
fn versions_that_are_no_numbers_are_not_compared() {
    let mut story = Story::following();
    story.line(added("b", "x10"));
    story.over(RequestError::Regular);
    story.next();
    assert_eq!(story.machine.checked("x9"), Ok(()));
    assert_eq!(story.next(), "watch x10");
}

#[test]
fn what_is_no_json_is_skipped_by_a_list() {
    let mut story = Story::following();
    story.line(added("b", "6"));
    let end = story.line(Line::InvalidJson).unwrap();
    story.over(end);
    assert_eq!(story.next(), "page 500");
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
        let mut story = Story::new(ListMode::Auto);
        assert_eq!(story.next(), "stream");
        story.over(end.clone());
        assert_eq!(story.next(), "page 500");
        assert_eq!(story.machine.streams(), Some(false));
        assert!(story.notes().is_empty());
        let mut story = Story::new(ListMode::WatchList);
        story.next();
        story.over(end);
        assert_eq!(story.next(), "wait 800ms", "pages were ruled out");
    }
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.over(refused(400));
    assert_eq!(story.next(), "wait 800ms", "this is about something else");
}

#[test]
fn what_others_have_learned_about_the_server_is_heeded() {
    let mut story = Story::new(ListMode::Auto);
    story.known = Some(false);
    assert_eq!(story.next(), "page 500");
    let mut story = Story::new(ListMode::WatchList);
    story.known = Some(false);
    assert_eq!(story.next(), "stream");
}

#[test]
fn a_list_without_an_end_mark_is_made_anew_in_pages_and_leaves_no_gap() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    story.line(added("a", "1"));
    story.now += 9 * SECOND;
    story.line(added("b", "2"));
    // What happens now is no first event, and prolongs nothing.
    for _ in 0..9 {
        story.line(modified("a", "3"));
        story.line(added("c", "4"));
        story.line(deleted("b", "5"));
        story.line(bookmark("6"));
        story.now += SECOND;
    }
    let (waited, end) = story.silence();
    assert_eq!((waited, &end), (SECOND, &RequestError::NoEndMark));
    story.over(end);
    assert_eq!(story.next(), "page 500");
    story.page(&["a", "c"], "6", None);
    let told = story.told();
    assert!(told.ends_with("init +a +c done"), "{told}");
    assert!(!told.contains("delete"), "{told}");
    assert_eq!(story.machine.streams(), Some(false));
    assert_eq!(story.notes(), ["well after 0"]);
}

#[test]
fn a_list_with_nothing_in_it_and_no_end_mark_ends_too() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    assert_eq!(story.silence(), (10 * SECOND, RequestError::NoEndMark));
}

#[test]
fn a_delete_before_the_end_mark_is_told_behind_it() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    for line in [
        added("a", "1"),
        added("b", "2"),
        deleted("a", "3"),
        added("c", "4"),
        end_mark("4"),
    ] {
        assert_eq!(story.line(line), None);
    }
    assert_eq!(story.told(), "init +a +b +c done delete a");
}

#[test]
fn a_list_of_deletes_is_no_list() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    let mut ends = (0..=streaming::MAX_EARLY_DELETES).filter_map(|_| story.line(deleted("a", "1")));
    assert_eq!(ends.next(), Some(RequestError::NoEndMark));
}

#[test]
fn a_list_that_lasts_longer_than_a_watch_may_is_made_in_pages() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    story.now += 300 * SECOND;
    story.over(RequestError::Regular);
    assert_eq!(story.next(), "page 500");
}
