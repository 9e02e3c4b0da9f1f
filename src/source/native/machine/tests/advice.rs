//! The probe for a version that went back is advice (D16 c).

use super::*;

fn selecting() -> Scenario {
    let mut scenario = Scenario::new(ListMode::Pages);
    scenario.machine = WatchMachine::new(Rules {
        timeouts: Timeouts::default(),
        list: ListMode::Pages,
        page_size: 500,
        selector: true,
    });
    scenario.next();
    scenario.page(&["a"], "5", None);
    scenario.next();
    scenario.opened();
    scenario
}

/// The watch stands for so long and ends.
fn stand(scenario: &mut Scenario, seconds: u32) {
    scenario.opened();
    scenario.now += seconds * SECOND;
    scenario.over(RequestError::Regular);
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
        let mut scenario = Scenario::following();
        stand(&mut scenario, 10);
        assert_eq!(scenario.next(), "version");
        scenario.over(end.clone());
        assert_eq!(scenario.next(), "watch 5", "{end}");
        assert!(scenario.notes().is_empty(), "{end}");
    }
    for version in ["5", "6", "x"] {
        let mut scenario = Scenario::following();
        stand(&mut scenario, 10);
        scenario.next();
        assert_eq!(scenario.machine.checked(version), Ok(()));
        assert_eq!(scenario.next(), "watch 5", "{version}");
    }
}

#[test]
fn it_is_made_at_most_once_in_thirty_seconds() {
    let mut scenario = Scenario::following();
    let mut probed = Vec::new();
    for _ in 0..60 {
        stand(&mut scenario, 10);
        if scenario.next() == "version" {
            probed.push(scenario.now);
            scenario.machine.checked("5").unwrap();
            scenario.next();
        }
    }
    assert!(probed.len() >= 15, "{}", probed.len());
    assert!(probed.windows(2).all(|at| at[1] - at[0] >= 30 * SECOND));
}

#[test]
fn one_that_was_refused_rests_for_ten_minutes_and_the_one_with_the_selector_stands_in() {
    let mut scenario = selecting();
    stand(&mut scenario, 10);
    assert_eq!(scenario.next(), "version");
    scenario.over(refused(403));
    assert_eq!(scenario.next(), "watch 5");
    let start = scenario.now;
    loop {
        stand(&mut scenario, 40);
        if scenario.now - start >= 600 * SECOND {
            break;
        }
        assert_eq!(scenario.next(), "version selected");
        scenario.machine.checked("5").unwrap();
        assert_eq!(scenario.next(), "watch 5");
    }
    assert_eq!(scenario.next(), "version", "perhaps it is allowed now");
}

#[test]
fn without_a_selector_or_if_both_are_refused_there_is_none_for_ten_minutes() {
    for mut scenario in [Scenario::following(), selecting()] {
        let start = scenario.now;
        let mut refusals = 0;
        loop {
            stand(&mut scenario, 40);
            if scenario.now - start >= 600 * SECOND {
                break;
            }
            if scenario.next().starts_with("version") {
                refusals += 1;
                scenario.over(refused(403));
                assert_eq!(scenario.next(), "watch 5");
            }
        }
        assert!(refusals <= 2, "{refusals}");
    }
}

#[test]
fn one_that_takes_over_a_second_is_given_up_and_rests_for_ten_minutes() {
    let mut scenario = selecting();
    stand(&mut scenario, 10);
    assert_eq!(scenario.next(), "version");
    // Its answer has begun, and dawdles.
    scenario.machine.opened(scenario.now);
    let asked = scenario.now;
    let end = loop {
        scenario.machine.reading(scenario.now);
        scenario.now += SECOND / 4;
        if let Some(end) = scenario.machine.timed_out(scenario.now) {
            break end;
        }
    };
    assert_eq!(scenario.now - asked, SECOND);
    scenario.over(end);
    assert_eq!(scenario.next(), "watch 5");
    for _ in 0..14 {
        stand(&mut scenario, 40);
        assert_eq!(scenario.next(), "watch 5");
    }
    stand(&mut scenario, 60);
    assert_eq!(scenario.next(), "version");
}

#[test]
fn a_refusal_that_hits_the_watch_too_says_nothing_about_the_probe() {
    let mut scenario = Scenario::following();
    stand(&mut scenario, 10);
    assert_eq!(scenario.next(), "version");
    scenario.over(refused(403));
    scenario.next();
    // A server that has just started, perhaps with a restored store.
    scenario.over(refused(403));
    scenario.now += 31 * SECOND;
    assert_eq!(scenario.next(), "version");
}

#[test]
fn a_lower_version_leads_to_a_list_and_to_the_watch_while_none_is_due() {
    let mut scenario = Scenario::following();
    scenario.line(bookmark("15"));
    stand(&mut scenario, 3);
    let listed = scenario.now - 3 * SECOND;
    let mut lists = Vec::new();
    // A list is always a little behind the bookmarks. Nothing is lost by that.
    while scenario.now - listed < 3600 * SECOND {
        let mut ask = scenario.next();
        if ask == "version" {
            if let Err(end) = scenario.machine.checked("5") {
                scenario.over(end);
            }
            scenario.wait();
            ask = scenario.next();
        }
        if ask == "page 500" {
            lists.push(scenario.now - listed);
            scenario.page(&["a"], "5", None);
            scenario.wait();
            ask = scenario.next();
        }
        assert!(ask.starts_with("watch"), "{ask}");
        scenario.opened();
        scenario.line(bookmark("15"));
        scenario.now += 3 * SECOND;
        scenario.over(RequestError::Regular);
        scenario.wait();
    }
    assert!(
        lists[0] >= 30 * SECOND && lists[0] < 70 * SECOND,
        "{lists:?}"
    );
    assert!(lists.len() <= 12, "{lists:?}");
    let pauses: Vec<Duration> = lists.windows(2).map(|at| at[1] - at[0]).collect();
    assert!(*pauses.last().unwrap() >= 600 * SECOND, "{pauses:?}");
}
