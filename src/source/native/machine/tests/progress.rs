//! Whatever ends a request, some request makes progress next (D16 a, b, d).

use super::*;

/// How a watch may end: as an answer of HTTP, or in its stream.
#[derive(Clone, Debug)]
enum Ends {
    Http(u16),
    InStream(u16),
    With(RequestError),
}

impl Story {
    /// One whose list is long ago: another one may follow at once.
    fn long_following() -> Self {
        let mut story = Self::following();
        story.now += 50 * SECOND;
        story
    }

    /// The watch that was asked for ends.
    fn ends(&mut self, how: &Ends) {
        match how {
            Ends::Http(code) => self.over(refused(*code)),
            Ends::InStream(code) => {
                self.opened();
                let end = self.line(error(*code)).unwrap();
                self.over(end);
            }
            Ends::With(end) => self.over(end.clone()),
        }
    }
}

// === errors of the server's own (a) ===

#[test]
fn three_errors_in_a_row_from_one_version_lead_to_a_list() {
    for how in [
        Ends::Http(500),
        Ends::InStream(500),
        Ends::InStream(0),
        Ends::Http(400),
        Ends::Http(404),
        Ends::Http(502),
        Ends::With(RequestError::NotAnApiServer),
        Ends::With(RequestError::Redirected("http://b".to_owned())),
    ] {
        let mut story = Story::long_following();
        for wait in [800, 1600] {
            story.ends(&how);
            assert!(story.wait() >= Duration::from_millis(wait), "{how:?}");
            story.watches("5");
        }
        story.ends(&how);
        assert_eq!(story.next(), "page 500", "{how:?}");
        story.page(&["b"], "9", None);
        assert_eq!(story.told(), "init +b done");
        assert_eq!(story.next(), "watch 9");
    }
}

#[test]
fn overload_refusal_and_broken_transport_never_lead_to_a_list() {
    for how in [
        Ends::Http(429),
        Ends::InStream(429),
        Ends::Http(503),
        Ends::Http(504),
        Ends::InStream(504),
        Ends::Http(401),
        Ends::Http(403),
        Ends::InStream(403),
        Ends::With(RequestError::Cut("reset".to_owned())),
        Ends::With(RequestError::Unreachable("refused".to_owned())),
        Ends::With(RequestError::Silence),
    ] {
        let mut story = Story::long_following();
        for _ in 0..12 {
            story.ends(&how);
            story.wait();
            story.watches("5");
        }
        assert_eq!(story.told(), "", "{how:?}");
    }
}

#[test]
fn progress_or_a_quiet_watch_between_two_errors_begins_the_count_anew() {
    let moves: fn(&mut Story) = |story| {
        story.line(bookmark("6"));
        story.over(RequestError::Regular);
    };
    let stands: fn(&mut Story) = |story| {
        story.now += 20 * SECOND;
        story.over(RequestError::Cut("idle".to_owned()));
    };
    for (between, version) in [(moves, "6"), (stands, "5")] {
        let mut story = Story::long_following();
        for _ in 0..2 {
            story.over(refused(500));
            story.wait();
            story.watches("5");
        }
        story.opened();
        between(&mut story);
        for _ in 0..2 {
            story.wait();
            story.watches(version);
            story.over(refused(500));
        }
        story.wait();
        story.watches(version);
        story.over(refused(500));
        assert_eq!(story.next(), "page 500", "the third one");
    }
}

#[test]
fn while_no_list_is_due_the_watch_has_its_chances() {
    let mut story = Story::following();
    let listed = story.now;
    let mut watches = 0;
    loop {
        story.over(refused(500));
        story.wait();
        let ask = story.next();
        if ask == "page 500" {
            break;
        }
        if ask == "version" {
            story.machine.checked("5").unwrap();
            story.next();
        }
        watches += 1;
    }
    assert_eq!(story.now - listed, 30 * SECOND);
    assert_eq!(
        watches, 6,
        "after 0.8, 1.6, 3.2, 6.4, 12.8 s and what was left"
    );
}

#[test]
fn a_list_that_errors_called_for_gives_way_to_the_watch_in_turns_when_it_is_not_allowed() {
    for code in [429, 503, 504, 401, 403] {
        let mut story = Story::long_following();
        for _ in 0..2 {
            story.over(refused(500));
            story.wait();
            story.watches("5");
        }
        story.over(refused(500));
        for _ in 0..3 {
            story.wait();
            assert_eq!(story.next(), "page 500", "{code}");
            story.over(refused(code));
            if code == 401 && story.next() == "page 500" {
                // The token may have been a new one.
                story.over(refused(code));
            }
            assert!(story.wait() > Duration::ZERO, "{code}");
            story.watches("5");
            story.over(refused(500));
        }
        story.wait();
        story.next();
        story.over(refused(code));
        story.wait();
        story.watches("5");
        story.opened();
        story.line(added("b", "6"));
        assert_eq!(story.told(), "apply b", "nothing was missed");
    }
}

#[test]
fn a_list_that_has_begun_goes_on_where_it_is() {
    let mut story = Story::long_following();
    for _ in 0..2 {
        story.over(refused(500));
        story.wait();
        story.watches("5");
    }
    story.over(refused(500));
    story.next();
    story.page(&["a"], "7", Some("t"));
    story.next();
    story.over(refused(503));
    story.wait();
    assert_eq!(story.next(), "page 500 after t");
}

#[test]
fn a_version_that_is_dead_is_not_tried_again_when_the_list_is_not_allowed() {
    let mut story = Story::long_following();
    story.over(refused(410));
    for code in [503, 403, 500, 503] {
        story.wait();
        assert_eq!(story.next(), "page 500");
        story.over(refused(code));
    }
}

#[test]
fn an_answer_that_is_complete_and_says_nothing_is_an_error_of_the_servers() {
    let mut story = Story::long_following();
    story.over(RequestError::Regular);
    story.watches("5");
    story.opened();
    for _ in 0..2 {
        story.over(RequestError::Regular);
        assert!(story.wait() > Duration::ZERO);
        story.watches("5");
        story.opened();
    }
    story.over(RequestError::Regular);
    assert_eq!(story.next(), "page 500");
}

// === the two ways to list (b) ===

/// A list as the server begins to send it, which then ends so.
fn cut_list(story: &mut Story) {
    story.opened();
    story.line(added("a", "1"));
    story.now += 4 * SECOND;
    story.machine.listening(story.now);
    story.over(RequestError::Cut("limit".to_owned()));
}

#[test]
fn a_streamed_list_that_fails_twice_is_tried_in_pages_and_pages_that_fail_twice_in_a_stream() {
    let fails: [fn(&mut Story); 5] = [
        cut_list,
        |story| story.over(refused(500)),
        |story| story.over(refused(504)),
        |story| {
            story.opened();
            let end = story.line(error(500)).unwrap();
            story.over(end);
        },
        |story| {
            let end = story.silence().1;
            story.over(end);
        },
    ];
    for fail in fails {
        let mut story = Story::new(ListMode::Auto);
        for ask in ["stream", "stream", "page 500", "page 500", "stream"] {
            story.wait();
            assert_eq!(story.next(), ask);
            match ask {
                "page 500" => story.over(refused(500)),
                _ => fail(&mut story),
            }
        }
    }
}

#[test]
fn overload_refusal_and_broken_transport_say_nothing_about_the_way_to_list() {
    for end in [
        refused(429),
        refused(401),
        refused(403),
        RequestError::Unreachable("refused".to_owned()),
        RequestError::Cut("before it answered".to_owned()),
    ] {
        let mut story = Story::new(ListMode::Auto);
        for _ in 0..8 {
            story.wait();
            assert_eq!(story.next(), "stream", "{end}");
            story.over(end.clone());
        }
    }
}

#[test]
fn the_way_that_has_worked_is_the_next_ones_too() {
    let mut story = Story::new(ListMode::Auto);
    for _ in 0..2 {
        story.wait();
        assert_eq!(story.next(), "stream");
        cut_list(&mut story);
    }
    story.wait();
    story.next();
    story.page(&["a"], "5", None);
    assert_eq!(story.machine.streams(), None, "others may fare better");
    story.watches("5");
    story.opened();
    story.line(added("b", "6"));
    story.over(refused(410));
    story.wait();
    assert_eq!(story.next(), "page 500");
}

#[test]
fn a_server_without_streamed_lists_is_not_asked_for_one_when_pages_fail() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.over(refused(422));
    for _ in 0..6 {
        story.wait();
        assert_eq!(story.next(), "page 500");
        story.over(refused(500));
    }
}

#[test]
fn a_continue_token_that_expired_doubles_the_page_up_to_eight_times() {
    let mut story = Story::new(ListMode::Pages);
    let mut limit = 500;
    for _ in 0..8 {
        story.wait();
        assert_eq!(story.next(), format!("page {limit}"));
        story.page(&["a"], "5", Some("t"));
        assert_eq!(story.next(), format!("page {limit} after t"));
        story.over(refused(410));
        limit *= 2;
    }
    for wait in [800, 800, 800] {
        story.wait();
        assert_eq!(story.next(), "page 128000", "as large as they get");
        story.page(&["a"], "5", Some("t"));
        story.next();
        story.over(refused(410));
        assert!(story.wait() >= Duration::from_millis(wait));
    }
    story.next();
    story.page(&["a"], "5", None);
    story.wait();
    story.watches("5");
    story.opened();
    story.line(added("b", "6"));
    story.over(refused(410));
    story.wait();
    assert_eq!(story.next(), "page 500", "the next list is another one");
}

#[test]
fn pages_that_were_too_large_are_not_doubled_again() {
    let mut story = Story::new(ListMode::Pages);
    story.next();
    story.over(RequestError::TooLarge(9));
    story.wait();
    assert_eq!(story.next(), "page 250");
    story.page(&["a"], "5", Some("t"));
    story.next();
    story.over(refused(410));
    story.wait();
    assert_eq!(story.next(), "page 250");
}

#[test]
fn a_list_that_fails_again_and_again_takes_a_fifth_of_the_time() {
    let mut story = Story::new(ListMode::WatchList);
    let (mut listing, mut waits) = (Duration::ZERO, Vec::new());
    for _ in 0..10 {
        waits.push(story.wait().as_secs());
        assert_eq!(story.next(), "stream");
        story.opened();
        story.line(added("a", "1"));
        story.now += 15 * SECOND;
        listing += 15 * SECOND;
        story.over(RequestError::Cut("limit".to_owned()));
    }
    assert_eq!(waits[..3], [0, 0, 1], "at first it is in a hurry");
    assert_eq!(waits[5..], [60; 5]);
}

// === a page beside a list that pauses ===

#[test]
fn a_page_is_asked_for_beside_a_list_that_pauses_and_takes_its_place() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    story.line(added("a", "1"));
    let asked = story.now;
    story.now = story.machine.poll_timeout().unwrap();
    assert_eq!(story.now - asked, SECOND / 2);
    assert_eq!(story.machine.timed_out(story.now), None);
    let page = ApiRequest::Page {
        limit: 500,
        token: None,
    };
    assert_eq!(story.machine.beside(story.now), Some(page));
    assert_eq!(story.machine.beside(story.now), None, "once");
    assert!(story.machine.beside_came(2));
    story.page(&["a", "b"], "7", Some("t"));
    assert_eq!(story.next(), "page 500 after t");
    story.page(&["c"], "7", None);
    assert_eq!(story.told(), "init +a init +a +b +c done");
    assert_eq!(story.machine.streams(), None, "others may fare better");
    story.watches("7");
}

#[test]
fn a_list_that_goes_on_as_quickly_as_the_page_beside_it_stays() {
    for (meanwhile, objects, stays) in [(3, 3, true), (2, 3, false), (1, 0, true), (0, 0, false)] {
        let mut story = Story::new(ListMode::Auto);
        story.next();
        story.opened();
        story.now += SECOND;
        assert!(story.machine.beside(story.now).is_some());
        for _ in 0..meanwhile {
            story.line(added("a", "1"));
        }
        let gives_way = story.machine.beside_came(objects);
        assert_eq!(gives_way, !stays, "{meanwhile} {objects}");
        if stays {
            story.line(end_mark("7"));
            assert_eq!(story.machine.streams(), Some(true));
        }
    }
}

#[test]
fn what_is_no_first_event_does_not_hide_that_a_list_pauses() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    story.line(added("a", "1"));
    let start = story.now;
    while story.machine.beside(story.now).is_none() {
        story.now += SECOND / 10;
        story.line(modified("a", "2"));
        story.line(added("b", "3"));
    }
    assert!(story.now - start <= SECOND, "{:?}", story.now - start);
}

#[test]
fn nothing_is_asked_beside_a_list_that_does_not_pause_or_must_be_streamed() {
    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    for _ in 0..100 {
        story.line(added("a", "1"));
        story.now += SECOND / 4;
        assert_eq!(story.machine.beside(story.now), None);
    }
    story.line(end_mark("7"));
    story.now += 60 * SECOND;
    assert_eq!(story.machine.beside(story.now), None, "it has ended");
    let mut story = Story::new(ListMode::WatchList);
    story.next();
    story.opened();
    story.now += 9 * SECOND;
    assert_eq!(story.machine.beside(story.now), None);
}

// === how watches are reopened (d) ===

#[test]
fn a_watch_that_stood_for_a_second_is_reopened_at_once_however_quiet_it_was() {
    for end in [RequestError::Regular, RequestError::Cut("idle".to_owned()), RequestError::Silence] {
        let mut story = Story::following();
        for stood in [1, 10, 25, 60] {
            story.now += stood * SECOND;
            story.over(end.clone());
            assert_eq!(story.wait(), Duration::ZERO, "{end} {stood}");
            story.watches("5");
            story.opened();
        }
        assert!(story.notes().is_empty(), "{end}");
    }
}

#[test]
fn the_time_of_a_watch_counts_from_its_request() {
    for end in [RequestError::Regular, RequestError::Cut("idle".to_owned())] {
        let mut story = Story::following();
        story.over(RequestError::Cut("idle".to_owned()));
        story.wait();
        story.watches("5");
        story.notes();
        for _ in 0..3 {
            // A proxy holds back the head of the answer until the end.
            story.now += 60 * SECOND;
            if end == RequestError::Regular {
                story.opened();
            }
            story.over(end.clone());
            assert_eq!(story.wait(), Duration::ZERO, "{end}");
            story.watches("5");
        }
        assert!(story.notes().is_empty(), "{end}");
    }
}

#[test]
fn a_server_that_takes_a_request_and_says_nothing_at_all_fails_and_is_asked_at_once() {
    let mut story = Story::following();
    story.over(RequestError::Regular);
    story.wait();
    story.watches("5");
    story.notes();
    let (waited, end) = story.silence();
    assert_eq!(waited, 65 * SECOND);
    story.over(end);
    assert_eq!(story.wait(), Duration::ZERO);
}

#[test]
fn watches_that_are_cut_after_a_second_are_reopened_ten_times_and_then_once_in_six() {
    let mut story = Story::following();
    let start = story.now;
    let mut opened = Vec::new();
    while story.now - start < 600 * SECOND {
        story.now += SECOND;
        story.over(RequestError::Cut("idle".to_owned()));
        story.wait();
        story.watches("5");
        story.opened();
        opened.push(story.now);
    }
    let at_once = opened.windows(2).take_while(|at| at[1] - at[0] == SECOND);
    assert!((7..=11).contains(&at_once.count()), "a burst");
    assert!((90..=110).contains(&opened.len()), "{}", opened.len());
    assert_eq!(story.notes().len(), 1, "that it is blind at times is said");
}
