//! What a server may do without end: it is asked at most ten times a minute all the same.

use super::*;

/// Plays until ten minutes are over; `answer` is given what was asked. Gives the most requests in
/// a minute after the first one.
fn most_in_a_minute(scenario: &mut Scenario, mut answer: impl FnMut(&mut Scenario, &str)) -> usize {
    let start = scenario.now;
    let mut asked = Vec::new();
    while scenario.now < start + 600 * SECOND {
        scenario.wait();
        asked.push(scenario.now);
        assert!(asked.len() < 10_000, "a busy loop");
        let ask = scenario.next();
        answer(scenario, &ask);
        scenario.now += Duration::from_millis(3);
        scenario.notes();
    }
    asked.retain(|at| *at >= start + 60 * SECOND);
    let within = |from: &Instant| {
        let minute = |at: &&Instant| **at >= *from && **at < *from + 60 * SECOND;
        asked.iter().filter(minute).count()
    };
    asked.iter().map(within).max().unwrap_or_default()
}

fn page(scenario: &mut Scenario, objects: &[&'static str], next: &str) {
    let page = scenario
        .machine
        .page(objects.to_vec(), "5", Some(next), |_| ());
    if let Err(end) = page {
        scenario.over(end);
    }
}

#[test]
fn lists_that_work_do_not_hurry_a_watch_that_never_does() {
    type Fails = fn(&mut Scenario);
    let fails: [Fails; 4] = [
        |scenario| scenario.over(refused(500)),
        |scenario| scenario.over(RequestError::Regular),
        |scenario| scenario.over(RequestError::InvalidJson),
        |scenario| {
            scenario.opened();
            let end = scenario.line(error(0)).unwrap();
            scenario.over(end);
        },
    ];
    for (number, fail) in fails.into_iter().enumerate() {
        for parts in [1, 3] {
            let mut scenario = Scenario::new(ListMode::Pages);
            let mut pages = 0;
            let most = most_in_a_minute(&mut scenario, |scenario, ask| match ask {
                "version" => scenario.machine.checked("5").unwrap(),
                watch if watch.starts_with("watch") => fail(scenario),
                _ => {
                    pages += 1;
                    let token = format!("t{pages}");
                    let next = (pages % parts != 0).then_some(token.as_str());
                    scenario.page(&["a"], "5", next);
                }
            });
            // Pages that follow a page are not counted.
            let most = most.saturating_sub(2 * (parts - 1));
            assert!(most <= 10, "{number} {parts}: {most}");
        }
    }
}

#[test]
fn a_list_whose_pages_lead_round_in_a_circle_begins_again_and_later_and_later() {
    for circle in 1..6 {
        let mut scenario = Scenario::new(ListMode::Pages);
        let mut lists = 0;
        let most = most_in_a_minute(&mut scenario, |scenario, ask| {
            scenario.opened();
            let at: usize = match ask.rsplit_once(" after ") {
                Some((_, token)) => token.parse().unwrap(),
                None => {
                    lists += 1;
                    0
                }
            };
            page(scenario, &["a"], &((at + 1) % circle).to_string());
        });
        assert!((20..40).contains(&lists), "{circle}: {lists}");
        assert!(most <= 3 * (4 * circle + 1), "{circle}: {most}");
    }
}

#[test]
fn a_list_may_begin_with_a_circle_and_end_well() {
    let mut scenario = Scenario::new(ListMode::Pages);
    for _ in 0..3 {
        assert_eq!(scenario.next(), "page 500");
        scenario.opened();
        scenario.page(&["a"], "5", Some("t"));
        assert_eq!(scenario.next(), "page 500 after t");
        scenario.opened();
        page(&mut scenario, &["b"], "t");
        assert!(scenario.wait() > Duration::ZERO);
    }
    assert_eq!(scenario.next(), "page 500");
    scenario.page(&["a"], "5", Some("u"));
    assert_eq!(scenario.next(), "page 500 after u", "at once");
    scenario.sent();
    scenario.page(&["b"], "6", None);
    assert_eq!(scenario.sent(), "+b done");
    assert_eq!(scenario.next(), "watch 6");
}

/// Answers with `n` objects and another token each time.
fn leads_on(scenario: &mut Scenario, objects: usize, pages: &mut usize) {
    scenario.opened();
    *pages += 1;
    page(scenario, &vec!["a"; objects], &pages.to_string());
}

#[test]
fn pages_with_objects_that_lead_on_indefinitely_are_a_list_that_fails_and_takes_a_fifth_of_the_time()
 {
    let mut scenario = Scenario::new(ListMode::Pages);
    let (mut pages, mut listing) = (0, Duration::ZERO);
    let (start, mut begun) = (scenario.now, Vec::new());
    while scenario.now < start + 1_000 * SECOND {
        scenario.wait();
        let (at, first) = (scenario.now, !scenario.next().contains("after"));
        if first {
            begun.push((at - start).as_secs());
        }
        scenario.now += Duration::from_secs(1);
        leads_on(&mut scenario, 40_000, &mut pages);
        listing += scenario.now - at;
        let notes = scenario.notes();
        let expected = match (begun.len(), pages) {
            (1, 1) => vec!["well after 0"],
            (1, 27) => vec!["failing: the list has more than 1048576 objects and no end"],
            _ => vec![],
        };
        assert_eq!(notes, expected, "page {pages}");
    }
    let share = listing.as_secs_f64() / (scenario.now - start).as_secs_f64();
    assert!(share < 0.3, "{share} of the time: {begun:?}");
    assert!(
        begun.windows(2).skip(4).all(|two| two[1] - two[0] >= 130),
        "{begun:?}"
    );
}

#[test]
fn very_short_pages_and_those_of_a_very_long_list_come_at_the_pace_of_other_requests() {
    // Requests in the last minute of so many, each of which is answered after a second.
    let last_minute = |objects: usize, minutes: u32| {
        let mut scenario = Scenario::new(ListMode::Pages);
        let (start, mut pages, mut before) = (scenario.now, 0, 0);
        while scenario.now < start + minutes * 60 * SECOND {
            scenario.wait();
            scenario.next();
            scenario.now += SECOND;
            leads_on(&mut scenario, objects, &mut pages);
            if scenario.now <= start + (minutes - 1) * 60 * SECOND {
                before = pages;
            }
        }
        pages - before
    };
    assert_eq!(last_minute(50, 9), 60);
    let short = last_minute(1, 9);
    assert!((9..=11).contains(&short), "they are short: {short}");
    let many = last_minute(50, 13);
    assert!((9..=11).contains(&many), "they are many: {many}");
}

#[test]
fn a_list_whose_second_page_always_fails_is_asked_for_later_and_later_and_fails_all_the_time() {
    for fault in [
        refused(400),
        refused(500),
        RequestError::InvalidJson,
        RequestError::Cut("reset".to_owned()),
    ] {
        let mut scenario = Scenario::new(ListMode::Pages);
        let mut said = Vec::new();
        let mut asked = 0;
        let start = scenario.now;
        while scenario.now < start + 600 * SECOND {
            scenario.wait();
            asked += 1;
            match scenario.next().contains("after") {
                true => {
                    scenario.opened();
                    scenario.over(fault.clone());
                }
                false => page(&mut scenario, &["a"], "t"),
            }
            scenario.now += Duration::from_millis(3);
            said.extend(scenario.notes());
        }
        assert_eq!(
            said,
            ["well after 0".to_owned(), format!("failing: {fault}")]
        );
        assert!(asked <= 100, "{fault}: {asked}");
    }
}

#[test]
fn pages_whose_second_one_always_fails_give_way_to_a_stream() {
    let mut scenario = Scenario::new(ListMode::Auto);
    for _ in 0..2 {
        scenario.wait();
        assert_eq!(scenario.next(), "stream");
        scenario.over(refused(500));
    }
    for _ in 0..2 {
        scenario.wait();
        assert_eq!(scenario.next(), "page 500");
        scenario.page(&["a"], "5", Some("t"));
        assert_eq!(scenario.next(), "page 500 after t");
        scenario.over(refused(400));
    }
    scenario.wait();
    assert_eq!(scenario.next(), "stream");
}

#[test]
fn a_streamed_list_without_end_fails_by_its_objects_and_by_its_time() {
    let mut scenario = Scenario::new(ListMode::WatchList);
    scenario.next();
    scenario.opened();
    let mut emit = |_| ();
    let endless = (0..=MOST_OBJECTS).find_map(|at| {
        let end = scenario
            .machine
            .line(added("a", "1"), &mut emit)
            .break_value();
        end.map(|end| (at, end))
    });
    assert_eq!(
        endless,
        Some((MOST_OBJECTS, RequestError::Endless(MOST_OBJECTS)))
    );

    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    let start = scenario.now;
    let end = loop {
        scenario.now += SECOND / 4;
        if let Some(end) = scenario.machine.timed_out(scenario.now) {
            break end;
        }
        assert_eq!(scenario.line(added("a", "1")), None);
    };
    assert_eq!(
        (scenario.now - start, &end),
        (600 * SECOND, &RequestError::NoEndMark)
    );
    scenario.over(end);
    assert_eq!(scenario.next(), "page 500");
}

#[test]
fn pages_without_objects_that_lead_on_indefinitely_are_no_progress() {
    let mut scenario = Scenario::new(ListMode::Pages);
    let mut pages = 0;
    let most = most_in_a_minute(&mut scenario, |scenario, _| {
        scenario.opened();
        pages += 1;
        page(scenario, &[], &pages.to_string());
    });
    assert!(most <= 10, "{most}");
}
