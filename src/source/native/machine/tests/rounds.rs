//! What a server may do for ever: it is asked at most ten times a minute all the same.

use super::*;

/// Plays until ten minutes are over; `answer` is given what was asked. Gives the most requests in
/// a minute after the first one.
fn most_in_a_minute(story: &mut Story, mut answer: impl FnMut(&mut Story, &str)) -> usize {
    let start = story.now;
    let mut asked = Vec::new();
    while story.now < start + 600 * SECOND {
        story.wait();
        asked.push(story.now);
        assert!(asked.len() < 10_000, "a busy loop");
        let ask = story.next();
        answer(story, &ask);
        story.now += Duration::from_millis(3);
        story.notes();
    }
    asked.retain(|at| *at >= start + 60 * SECOND);
    let within = |from: &Instant| {
        let minute = |at: &&Instant| **at >= *from && **at < *from + 60 * SECOND;
        asked.iter().filter(minute).count()
    };
    asked.iter().map(within).max().unwrap_or_default()
}

fn page(story: &mut Story, objects: &[&'static str], next: &str) {
    let page = story
        .machine
        .page(objects.to_vec(), "5", Some(next), |_| ());
    if let Err(end) = page {
        story.over(end);
    }
}

#[test]
fn lists_that_work_do_not_hurry_a_watch_that_never_does() {
    type Fails = fn(&mut Story);
    let fails: [Fails; 4] = [
        |story| story.over(refused(500)),
        |story| story.over(RequestError::Regular),
        |story| story.over(RequestError::InvalidJson),
        |story| {
            story.opened();
            let end = story.line(error(0)).unwrap();
            story.over(end);
        },
    ];
    for (number, fail) in fails.into_iter().enumerate() {
        for parts in [1, 3] {
            let mut story = Story::new(ListMode::Pages);
            let mut pages = 0;
            let most = most_in_a_minute(&mut story, |story, ask| match ask {
                "version" => story.machine.checked("5").unwrap(),
                watch if watch.starts_with("watch") => fail(story),
                _ => {
                    pages += 1;
                    let token = format!("t{pages}");
                    let next = (pages % parts != 0).then_some(token.as_str());
                    story.page(&["a"], "5", next);
                }
            });
            // Pages that follow a page are beside the count.
            let most = most.saturating_sub(2 * (parts - 1));
            assert!(most <= 10, "{number} {parts}: {most}");
        }
    }
}

#[test]
fn a_list_whose_pages_lead_round_in_a_circle_begins_anew_and_later_and_later() {
    for circle in 1..6 {
        let mut story = Story::new(ListMode::Pages);
        let mut lists = 0;
        let most = most_in_a_minute(&mut story, |story, ask| {
            story.opened();
            let at: usize = match ask.rsplit_once(" after ") {
                Some((_, token)) => token.parse().unwrap(),
                None => {
                    lists += 1;
                    0
                }
            };
            page(story, &["a"], &((at + 1) % circle).to_string());
        });
        assert!((20..40).contains(&lists), "{circle}: {lists}");
        assert!(most <= 3 * (4 * circle + 1), "{circle}: {most}");
    }
}

#[test]
fn a_list_may_begin_with_a_circle_and_end_well() {
    let mut story = Story::new(ListMode::Pages);
    for _ in 0..3 {
        assert_eq!(story.next(), "page 500");
        story.opened();
        story.page(&["a"], "5", Some("t"));
        assert_eq!(story.next(), "page 500 after t");
        story.opened();
        page(&mut story, &["b"], "t");
        assert!(story.wait() > Duration::ZERO);
    }
    assert_eq!(story.next(), "page 500");
    story.page(&["a"], "5", Some("u"));
    assert_eq!(story.next(), "page 500 after u", "at once");
    story.told();
    story.page(&["b"], "6", None);
    assert_eq!(story.told(), "+b done");
    assert_eq!(story.next(), "watch 6");
}

/// Answers with `n` objects and another token each time.
fn leads_on(story: &mut Story, objects: usize, pages: &mut usize) {
    story.opened();
    *pages += 1;
    page(story, &vec!["a"; objects], &pages.to_string());
}

#[test]
fn pages_with_objects_that_lead_on_for_ever_are_a_list_that_fails_and_takes_a_fifth_of_the_time() {
    let mut story = Story::new(ListMode::Pages);
    let (mut pages, mut listing) = (0, Duration::ZERO);
    let (start, mut begun) = (story.now, Vec::new());
    while story.now < start + 1_000 * SECOND {
        story.wait();
        let (at, first) = (story.now, !story.next().contains("after"));
        if first {
            begun.push((at - start).as_secs());
        }
        story.now += Duration::from_secs(1);
        leads_on(&mut story, 40_000, &mut pages);
        listing += story.now - at;
        let notes = story.notes();
        let expected = match (begun.len(), pages) {
            (1, 1) => vec!["well after 0"],
            (1, 27) => vec!["failing: the list has more than 1048576 objects and no end"],
            _ => vec![],
        };
        assert_eq!(notes, expected, "page {pages}");
    }
    let share = listing.as_secs_f64() / (story.now - start).as_secs_f64();
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
        let mut story = Story::new(ListMode::Pages);
        let (start, mut pages, mut before) = (story.now, 0, 0);
        while story.now < start + minutes * 60 * SECOND {
            story.wait();
            story.next();
            story.now += SECOND;
            leads_on(&mut story, objects, &mut pages);
            if story.now <= start + (minutes - 1) * 60 * SECOND {
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
        let mut story = Story::new(ListMode::Pages);
        let mut said = Vec::new();
        let mut asked = 0;
        let start = story.now;
        while story.now < start + 600 * SECOND {
            story.wait();
            asked += 1;
            match story.next().contains("after") {
                true => {
                    story.opened();
                    story.over(fault.clone());
                }
                false => page(&mut story, &["a"], "t"),
            }
            story.now += Duration::from_millis(3);
            said.extend(story.notes());
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
    let mut story = Story::new(ListMode::Auto);
    for _ in 0..2 {
        story.wait();
        assert_eq!(story.next(), "stream");
        story.over(refused(500));
    }
    for _ in 0..2 {
        story.wait();
        assert_eq!(story.next(), "page 500");
        story.page(&["a"], "5", Some("t"));
        assert_eq!(story.next(), "page 500 after t");
        story.over(refused(400));
    }
    story.wait();
    assert_eq!(story.next(), "stream");
}

#[test]
fn a_streamed_list_without_end_fails_by_its_objects_and_by_its_time() {
    let mut story = Story::new(ListMode::WatchList);
    story.next();
    story.opened();
    let mut tell = |_| ();
    let endless = (0..=MOST_OBJECTS).find_map(|at| {
        let end = story.machine.line(added("a", "1"), &mut tell).break_value();
        end.map(|end| (at, end))
    });
    assert_eq!(endless, Some((MOST_OBJECTS, RequestError::Endless(MOST_OBJECTS))));

    let mut story = Story::new(ListMode::Auto);
    story.next();
    story.opened();
    let start = story.now;
    let end = loop {
        story.now += SECOND / 4;
        if let Some(end) = story.machine.timed_out(story.now) {
            break end;
        }
        assert_eq!(story.line(added("a", "1")), None);
    };
    assert_eq!((story.now - start, &end), (600 * SECOND, &RequestError::NoEndMark));
    story.over(end);
    assert_eq!(story.next(), "page 500");
}

#[test]
fn pages_without_objects_that_lead_on_for_ever_are_no_progress() {
    let mut story = Story::new(ListMode::Pages);
    let mut pages = 0;
    let most = most_in_a_minute(&mut story, |story, _| {
        story.opened();
        pages += 1;
        page(story, &[], &pages.to_string());
    });
    assert!(most <= 10, "{most}");
}
