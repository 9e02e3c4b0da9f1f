//! Whatever ends a request, some request makes progress next (D16 a, b, d).

use super::*;

/// How a watch may end: as an answer of HTTP, or in its stream.
#[derive(Clone, Debug)]
enum Ends {
    Http(u16),
    InStream(u16),
    With(RequestError),
}

impl Scenario {
    /// One whose list is long ago: another one may follow at once.
    fn long_following() -> Self {
        let mut scenario = Self::following();
        scenario.now += 50 * SECOND;
        scenario
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
        let mut scenario = Scenario::long_following();
        for wait in [800, 1600] {
            scenario.ends(&how);
            assert!(scenario.wait() >= Duration::from_millis(wait), "{how:?}");
            scenario.watches("5");
        }
        scenario.ends(&how);
        assert_eq!(scenario.next(), "page 500", "{how:?}");
        scenario.page(&["b"], "9", None);
        assert_eq!(scenario.sent(), "init +b done");
        assert_eq!(scenario.next(), "watch 9");
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
        let mut scenario = Scenario::long_following();
        for _ in 0..12 {
            scenario.ends(&how);
            scenario.wait();
            scenario.watches("5");
        }
        assert_eq!(scenario.sent(), "", "{how:?}");
    }
}

#[test]
fn progress_or_a_quiet_watch_between_two_errors_begins_the_count_again() {
    let moves: fn(&mut Scenario) = |scenario| {
        scenario.line(bookmark("6"));
        scenario.over(RequestError::Regular);
    };
    let stands: fn(&mut Scenario) = |scenario| {
        scenario.now += 20 * SECOND;
        scenario.over(RequestError::Cut("idle".to_owned()));
    };
    for (between, version) in [(moves, "6"), (stands, "5")] {
        let mut scenario = Scenario::long_following();
        for _ in 0..2 {
            scenario.over(refused(500));
            scenario.wait();
            scenario.watches("5");
        }
        scenario.opened();
        between(&mut scenario);
        for _ in 0..2 {
            scenario.wait();
            scenario.watches(version);
            scenario.over(refused(500));
        }
        scenario.wait();
        scenario.watches(version);
        scenario.over(refused(500));
        assert_eq!(scenario.next(), "page 500", "the third one");
    }
}

#[test]
fn while_no_list_is_due_the_watch_has_its_chances() {
    let mut scenario = Scenario::following();
    let listed = scenario.now;
    let mut watches = 0;
    loop {
        scenario.over(refused(500));
        scenario.wait();
        let ask = scenario.next();
        if ask == "page 500" {
            break;
        }
        if ask == "version" {
            scenario.machine.checked("5").unwrap();
            scenario.next();
        }
        watches += 1;
    }
    assert_eq!(scenario.now - listed, 30 * SECOND);
    assert_eq!(
        watches, 6,
        "after 0.8, 1.6, 3.2, 6.4, 12.8 s and what was left"
    );
}

#[test]
fn a_list_that_errors_called_for_gives_way_to_the_watch_in_turns_when_it_is_not_allowed() {
    for code in [429, 503, 504, 401, 403] {
        let mut scenario = Scenario::long_following();
        for _ in 0..2 {
            scenario.over(refused(500));
            scenario.wait();
            scenario.watches("5");
        }
        scenario.over(refused(500));
        for _ in 0..3 {
            scenario.wait();
            assert_eq!(scenario.next(), "page 500", "{code}");
            scenario.over(refused(code));
            if code == 401 && scenario.next() == "page 500" {
                // The token may have been a new one.
                scenario.over(refused(code));
            }
            assert!(scenario.wait() > Duration::ZERO, "{code}");
            scenario.watches("5");
            scenario.over(refused(500));
        }
        scenario.wait();
        scenario.next();
        scenario.over(refused(code));
        scenario.wait();
        scenario.watches("5");
        scenario.opened();
        scenario.line(added("b", "6"));
        assert_eq!(scenario.sent(), "apply b", "nothing was missed");
    }
}

#[test]
fn a_list_that_has_begun_goes_on_where_it_is() {
    let mut scenario = Scenario::long_following();
    for _ in 0..2 {
        scenario.over(refused(500));
        scenario.wait();
        scenario.watches("5");
    }
    scenario.over(refused(500));
    scenario.next();
    scenario.page(&["a"], "7", Some("t"));
    scenario.next();
    scenario.over(refused(503));
    scenario.wait();
    assert_eq!(scenario.next(), "page 500 after t");
}

#[test]
fn a_version_that_is_dead_is_not_tried_again_when_the_list_is_not_allowed() {
    let mut scenario = Scenario::long_following();
    scenario.over(refused(410));
    for code in [503, 403, 500, 503] {
        scenario.wait();
        assert_eq!(scenario.next(), "page 500");
        scenario.over(refused(code));
    }
}

#[test]
fn an_answer_that_is_complete_and_says_nothing_is_an_error_of_the_servers() {
    let mut scenario = Scenario::long_following();
    scenario.over(RequestError::Regular);
    scenario.watches("5");
    scenario.opened();
    for _ in 0..2 {
        scenario.over(RequestError::Regular);
        assert!(scenario.wait() > Duration::ZERO);
        scenario.watches("5");
        scenario.opened();
    }
    scenario.over(RequestError::Regular);
    assert_eq!(scenario.next(), "page 500");
}

// === the two ways to list (b) ===

/// A list as the server begins to send it, which then ends so.
fn cut_list(scenario: &mut Scenario) {
    scenario.opened();
    scenario.line(added("a", "1"));
    scenario.now += 4 * SECOND;
    scenario.machine.listening(scenario.now);
    scenario.over(RequestError::Cut("limit".to_owned()));
}

#[test]
fn a_streamed_list_that_fails_twice_is_tried_in_pages_and_pages_that_fail_twice_in_a_stream() {
    let fails: [fn(&mut Scenario); 5] = [
        cut_list,
        |scenario| scenario.over(refused(500)),
        |scenario| scenario.over(refused(504)),
        |scenario| {
            scenario.opened();
            let end = scenario.line(error(500)).unwrap();
            scenario.over(end);
        },
        |scenario| {
            let end = scenario.silence().1;
            scenario.over(end);
        },
    ];
    for fail in fails {
        let mut scenario = Scenario::new(ListMode::Auto);
        for ask in ["stream", "stream", "page 500", "page 500", "stream"] {
            scenario.wait();
            assert_eq!(scenario.next(), ask);
            match ask {
                "page 500" => scenario.over(refused(500)),
                _ => fail(&mut scenario),
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
        let mut scenario = Scenario::new(ListMode::Auto);
        for _ in 0..8 {
            scenario.wait();
            assert_eq!(scenario.next(), "stream", "{end}");
            scenario.over(end.clone());
        }
    }
}

#[test]
fn the_way_that_has_worked_is_the_next_ones_too() {
    let mut scenario = Scenario::new(ListMode::Auto);
    for _ in 0..2 {
        scenario.wait();
        assert_eq!(scenario.next(), "stream");
        cut_list(&mut scenario);
    }
    scenario.wait();
    scenario.next();
    scenario.page(&["a"], "5", None);
    assert_eq!(scenario.machine.streams(), None, "others may fare better");
    scenario.watches("5");
    scenario.opened();
    scenario.line(added("b", "6"));
    scenario.over(refused(410));
    scenario.wait();
    assert_eq!(scenario.next(), "page 500");
}

#[test]
fn a_server_without_streamed_lists_is_not_asked_for_one_when_pages_fail() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.over(refused(422));
    for _ in 0..6 {
        scenario.wait();
        assert_eq!(scenario.next(), "page 500");
        scenario.over(refused(500));
    }
}

#[test]
fn a_continue_token_that_expired_doubles_the_page_up_to_eight_times() {
    let mut scenario = Scenario::new(ListMode::Pages);
    let mut limit = 500;
    for _ in 0..8 {
        scenario.wait();
        assert_eq!(scenario.next(), format!("page {limit}"));
        scenario.page(&["a"], "5", Some("t"));
        assert_eq!(scenario.next(), format!("page {limit} after t"));
        scenario.over(refused(410));
        limit *= 2;
    }
    for wait in [800, 800, 800] {
        scenario.wait();
        assert_eq!(scenario.next(), "page 128000", "as large as they get");
        scenario.page(&["a"], "5", Some("t"));
        scenario.next();
        scenario.over(refused(410));
        assert!(scenario.wait() >= Duration::from_millis(wait));
    }
    scenario.next();
    scenario.page(&["a"], "5", None);
    scenario.wait();
    scenario.watches("5");
    scenario.opened();
    scenario.line(added("b", "6"));
    scenario.over(refused(410));
    scenario.wait();
    assert_eq!(scenario.next(), "page 500", "the next list is another one");
}

#[test]
fn pages_that_were_too_large_are_not_doubled_again() {
    let mut scenario = Scenario::new(ListMode::Pages);
    scenario.next();
    scenario.over(RequestError::TooLarge(9));
    scenario.wait();
    assert_eq!(scenario.next(), "page 250");
    scenario.page(&["a"], "5", Some("t"));
    scenario.next();
    scenario.over(refused(410));
    scenario.wait();
    assert_eq!(scenario.next(), "page 250");
}

#[test]
fn a_list_that_fails_again_and_again_takes_a_fifth_of_the_time() {
    let mut scenario = Scenario::new(ListMode::WatchList);
    let (mut listing, mut waits) = (Duration::ZERO, Vec::new());
    for _ in 0..10 {
        waits.push(scenario.wait().as_secs());
        assert_eq!(scenario.next(), "stream");
        scenario.opened();
        scenario.line(added("a", "1"));
        scenario.now += 15 * SECOND;
        listing += 15 * SECOND;
        scenario.over(RequestError::Cut("limit".to_owned()));
    }
    assert_eq!(waits[..3], [0, 0, 1], "at first it is in a hurry");
    assert_eq!(waits[5..], [60; 5]);
}

// === a page alongside a list that pauses ===

#[test]
fn a_page_is_asked_for_alongside_a_list_that_pauses_and_takes_its_place() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    scenario.line(added("a", "1"));
    let asked = scenario.now;
    scenario.now = scenario.machine.poll_timeout().unwrap();
    assert_eq!(scenario.now - asked, SECOND / 2);
    assert_eq!(scenario.machine.timed_out(scenario.now), None);
    let page = ApiRequest::Page {
        limit: 500,
        token: None,
    };
    assert_eq!(scenario.machine.alongside(scenario.now), Some(page));
    assert_eq!(scenario.machine.alongside(scenario.now), None, "once");
    assert!(scenario.machine.alongside_came(2));
    scenario.page(&["a", "b"], "7", Some("t"));
    assert_eq!(scenario.next(), "page 500 after t");
    scenario.page(&["c"], "7", None);
    assert_eq!(scenario.sent(), "init +a init +a +b +c done");
    assert_eq!(scenario.machine.streams(), None, "others may fare better");
    scenario.watches("7");
}

#[test]
fn a_list_that_goes_on_as_quickly_as_the_page_alongside_it_stays() {
    for (meanwhile, objects, stays) in [(3, 3, true), (2, 3, false), (1, 0, true), (0, 0, false)] {
        let mut scenario = Scenario::new(ListMode::Auto);
        scenario.next();
        scenario.opened();
        scenario.now += SECOND;
        assert!(scenario.machine.alongside(scenario.now).is_some());
        for _ in 0..meanwhile {
            scenario.line(added("a", "1"));
        }
        let gives_way = scenario.machine.alongside_came(objects);
        assert_eq!(gives_way, !stays, "{meanwhile} {objects}");
        if stays {
            scenario.line(end_mark("7"));
            assert_eq!(scenario.machine.streams(), Some(true));
        }
    }
}

#[test]
fn what_is_no_first_event_does_not_hide_that_a_list_pauses() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    scenario.line(added("a", "1"));
    let start = scenario.now;
    while scenario.machine.alongside(scenario.now).is_none() {
        scenario.now += SECOND / 10;
        scenario.line(modified("a", "2"));
        scenario.line(added("b", "3"));
    }
    assert!(scenario.now - start <= SECOND, "{:?}", scenario.now - start);
}

#[test]
fn nothing_is_asked_alongside_a_list_that_does_not_pause_or_must_be_streamed() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    for _ in 0..100 {
        scenario.line(added("a", "1"));
        scenario.now += SECOND / 4;
        assert_eq!(scenario.machine.alongside(scenario.now), None);
    }
    scenario.line(end_mark("7"));
    scenario.now += 60 * SECOND;
    assert_eq!(
        scenario.machine.alongside(scenario.now),
        None,
        "it has ended"
    );
    let mut scenario = Scenario::new(ListMode::WatchList);
    scenario.next();
    scenario.opened();
    scenario.now += 9 * SECOND;
    assert_eq!(scenario.machine.alongside(scenario.now), None);
}

// === how watches are reopened (d) ===

#[test]
fn a_watch_that_stood_for_a_second_is_reopened_at_once_however_quiet_it_was() {
    for end in [
        RequestError::Regular,
        RequestError::Cut("idle".to_owned()),
        RequestError::Silence,
    ] {
        let mut scenario = Scenario::following();
        for stood in [1, 10, 25, 60] {
            scenario.now += stood * SECOND;
            scenario.over(end.clone());
            assert_eq!(scenario.wait(), Duration::ZERO, "{end} {stood}");
            scenario.watches("5");
            scenario.opened();
        }
        assert!(scenario.notes().is_empty(), "{end}");
    }
}

#[test]
fn the_time_of_a_watch_counts_from_its_request() {
    for end in [RequestError::Regular, RequestError::Cut("idle".to_owned())] {
        let mut scenario = Scenario::following();
        scenario.over(RequestError::Cut("idle".to_owned()));
        scenario.wait();
        scenario.watches("5");
        scenario.notes();
        for _ in 0..3 {
            // A proxy holds back the head of the answer until the end.
            scenario.now += 60 * SECOND;
            if end == RequestError::Regular {
                scenario.opened();
            }
            scenario.over(end.clone());
            assert_eq!(scenario.wait(), Duration::ZERO, "{end}");
            scenario.watches("5");
        }
        assert!(scenario.notes().is_empty(), "{end}");
    }
}

#[test]
fn a_server_that_takes_a_request_and_says_nothing_at_all_fails_and_is_asked_at_once() {
    let mut scenario = Scenario::following();
    scenario.over(RequestError::Regular);
    scenario.wait();
    scenario.watches("5");
    scenario.notes();
    let (waited, end) = scenario.silence();
    assert_eq!(waited, 65 * SECOND);
    scenario.over(end);
    assert_eq!(scenario.wait(), Duration::ZERO);
}

#[test]
fn watches_that_are_cut_after_a_second_are_reopened_ten_times_and_then_once_in_six() {
    let mut scenario = Scenario::following();
    let start = scenario.now;
    let mut opened = Vec::new();
    while scenario.now - start < 600 * SECOND {
        scenario.now += SECOND;
        scenario.over(RequestError::Cut("idle".to_owned()));
        scenario.wait();
        scenario.watches("5");
        scenario.opened();
        opened.push(scenario.now);
    }
    let at_once = opened.windows(2).take_while(|at| at[1] - at[0] == SECOND);
    assert!((7..=11).contains(&at_once.count()), "a burst");
    assert!((90..=110).contains(&opened.len()), "{}", opened.len());
    assert_eq!(
        scenario.notes().len(),
        1,
        "that it is blind at times is said"
    );
}
