//! The probe for a version that went back is advice (D16 c).

use super::*;

fn selecting() -> Story {
    let mut story = Story::new(ListMode::Pages);
    story.machine = WatchMachine::new(Rules {
        timeouts: Timeouts::default(),
        list: ListMode::Pages,
        page_size: 500,
        selector: true,
    });
    story.next();
    story.page(&["a"], "5", None);
    story.next();
    story.opened();
    story
}

/// The watch stands for so long and ends.
fn stand(story: &mut Story, seconds: u32) {
    story.opened();
    story.now += seconds * SECOND;
    story.over(RequestError::Regular);
}

#[test]
fn unless_it_answers_with_a_lower_version_the_watch_opens() {
    for end in [
        refused(401),
        refused(403),
        refused(404),
        refused(410),
        refused(429),
        refused(500),
        refused(504),
        RequestError::Cut("reset".to_owned()),
        RequestError::Unreachable("refused".to_owned()),
        RequestError::NotAnApiServer,
        RequestError::InvalidJson,
        RequestError::Regular,
        RequestError::TooLarge(9),
    ] {
        let mut story = Story::following();
        stand(&mut story, 10);
        assert_eq!(story.next(), "version");
        story.over(end.clone());
        assert_eq!(story.next(), "watch 5", "{end}");
        assert!(story.notes().is_empty(), "{end}");
    }
    for version in ["5", "6", "x"] {
        let mut story = Story::following();
        stand(&mut story, 10);
        story.next();
        assert_eq!(story.machine.checked(version), Ok(()));
        assert_eq!(story.next(), "watch 5", "{version}");
    }
}

#[test]
fn it_is_made_at_most_once_in_thirty_seconds() {
    let mut story = Story::following();
    let mut probed = Vec::new();
    for _ in 0..60 {
        stand(&mut story, 10);
        if story.next() == "version" {
            probed.push(story.now);
            story.machine.checked("5").unwrap();
            story.next();
        }
    }
    assert!(probed.len() >= 15, "{}", probed.len());
    assert!(probed.windows(2).all(|at| at[1] - at[0] >= 30 * SECOND));
}

#[test]
fn one_that_was_refused_rests_for_ten_minutes_and_the_one_with_the_selector_stands_in() {
    let mut story = selecting();
    stand(&mut story, 10);
    assert_eq!(story.next(), "version");
    story.over(refused(403));
    assert_eq!(story.next(), "watch 5");
    let start = story.now;
    loop {
        stand(&mut story, 40);
        if story.now - start >= 600 * SECOND {
            break;
        }
        assert_eq!(story.next(), "version selected");
        story.machine.checked("5").unwrap();
        assert_eq!(story.next(), "watch 5");
    }
    assert_eq!(story.next(), "version", "perhaps it is allowed now");
}

#[test]
fn without_a_selector_or_if_both_are_refused_there_is_none_for_ten_minutes() {
    for mut story in [Story::following(), selecting()] {
        let start = story.now;
        let mut refusals = 0;
        loop {
            stand(&mut story, 40);
            if story.now - start >= 600 * SECOND {
                break;
            }
            if story.next().starts_with("version") {
                refusals += 1;
                story.over(refused(403));
                assert_eq!(story.next(), "watch 5");
            }
        }
        assert!(refusals <= 2, "{refusals}");
    }
}

#[test]
fn one_that_takes_over_a_second_is_given_up_and_rests_for_ten_minutes() {
    let mut story = selecting();
    stand(&mut story, 10);
    assert_eq!(story.next(), "version");
    // Its answer has begun, and dawdles.
    story.machine.opened(story.now);
    let asked = story.now;
    let end = loop {
        story.machine.reading(story.now);
        story.now += SECOND / 4;
        if let Some(end) = story.machine.timed_out(story.now) {
            break end;
        }
    };
    assert_eq!(story.now - asked, SECOND);
    story.over(end);
    assert_eq!(story.next(), "watch 5");
    for _ in 0..14 {
        stand(&mut story, 40);
        assert_eq!(story.next(), "watch 5");
    }
    stand(&mut story, 60);
    assert_eq!(story.next(), "version");
}

#[test]
fn a_refusal_that_hits_the_watch_too_says_nothing_about_the_probe() {
    let mut story = Story::following();
    stand(&mut story, 10);
    assert_eq!(story.next(), "version");
    story.over(refused(403));
    story.next();
    // A server that has just started, perhaps with a restored store.
    story.over(refused(403));
    story.now += 31 * SECOND;
    assert_eq!(story.next(), "version");
}

#[test]
fn a_lower_version_leads_to_a_list_and_to_the_watch_while_none_is_due() {
    let mut story = Story::following();
    story.line(bookmark("15"));
    stand(&mut story, 3);
    let listed = story.now - 3 * SECOND;
    let mut lists = Vec::new();
    // A list is always a little behind the bookmarks. Nothing is lost by that.
    while story.now - listed < 3600 * SECOND {
        let mut ask = story.next();
        if ask == "version" {
            if let Err(end) = story.machine.checked("5") {
                story.over(end);
            }
            story.wait();
            ask = story.next();
        }
        if ask == "page 500" {
            lists.push(story.now - listed);
            story.page(&["a"], "5", None);
            story.wait();
            ask = story.next();
        }
        assert!(ask.starts_with("watch"), "{ask}");
        story.opened();
        story.line(bookmark("15"));
        story.now += 3 * SECOND;
        story.over(RequestError::Regular);
        story.wait();
    }
    assert!(
        lists[0] >= 30 * SECOND && lists[0] < 70 * SECOND,
        "{lists:?}"
    );
    assert!(lists.len() <= 12, "{lists:?}");
    let pauses: Vec<Duration> = lists.windows(2).map(|at| at[1] - at[0]).collect();
    assert!(*pauses.last().unwrap() >= 600 * SECOND, "{pauses:?}");
}
