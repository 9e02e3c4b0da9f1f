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
        |story| story.over(End::Regular),
        |story| story.over(End::Garbled),
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
