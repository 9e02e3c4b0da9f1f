//! From any history of a server's faults the state becomes right within a bounded time, and no
//! server is asked or made to list too much meanwhile. Time is virtual.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What the server, or what stands before it, does to a request.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Healthy,
    /// An answer of HTTP, after so many milliseconds.
    Code(u16, u16),
    /// A stream begins, and has this error after so many milliseconds.
    ErrorEvent(u16, u16),
    /// An answer begins, and breaks off after so many milliseconds.
    Cut(u16),
    /// The same in good order.
    Ended(u16),
    /// Objects come one in so many milliseconds.
    Slow(u16),
    /// `sendInitialEvents` is ignored.
    NoMark,
    /// A line or page is no JSON.
    InvalidJson,
    /// There is no answer.
    Silent,
    Unreachable,
    NotAnApiServer,
    Redirected,
    /// Continue tokens are expired.
    Expired,
    /// The server forgets all versions before its present one, and then answers.
    Compacts,
    /// Its store is restored from an old copy, and then it answers.
    Restored,
}

fn moods(restores: bool) -> impl Strategy<Value = Vec<Mood>> {
    let code = prop_oneof![
        Just(0),
        Just(400),
        Just(401),
        Just(403),
        Just(404),
        Just(406),
        Just(410),
        Just(422),
        Just(429),
        Just(500),
        Just(502),
        Just(503),
        Just(504),
    ];
    let time = prop_oneof![0..100_u16, 0..20_000_u16];
    let mood = prop_oneof![
        4 => (code.clone(), time.clone()).prop_map(|(code, late)| Mood::Code(code, late)),
        3 => (code, time.clone()).prop_map(|(code, late)| Mood::ErrorEvent(code, late)),
        3 => time.clone().prop_map(Mood::Cut),
        2 => time.prop_map(Mood::Ended),
        2 => (0..2_000_u16).prop_map(Mood::Slow),
        2 => Just(Mood::NoMark),
        1 => Just(Mood::InvalidJson),
        1 => Just(Mood::Silent),
        1 => Just(Mood::Unreachable),
        1 => Just(Mood::NotAnApiServer),
        1 => Just(Mood::Redirected),
        1 => Just(Mood::Expired),
        1 => Just(Mood::Compacts),
        1 => Just(if restores { Mood::Restored } else { Mood::Healthy }),
        2 => Just(Mood::Healthy),
    ];
    proptest::collection::vec(mood, 1..12)
}

/// A cluster in which something changes now and then, and the watch of it.
struct World {
    machine: WatchMachine<u8>,
    streams: Option<bool>,
    now: Instant,
    start: Instant,
    /// The chance of delays.
    jitter: f64,
    // The cluster.
    objects: BTreeSet<u8>,
    version: u64,
    log: Vec<(u64, u8, bool)>,
    oldest: u64,
    /// What a list in pages shows.
    snapshot: (Vec<u8>, u64),
    next_change: Instant,
    rhythm: Duration,
    changes: u64,
    /// Whether a version that is forgotten is called 410.
    honest: bool,
    // What the watch sent.
    state: BTreeMap<u8, ()>,
    staged: Option<BTreeMap<u8, ()>>,
    // What it asked.
    requests: Vec<Instant>,
    listing: Vec<(Instant, Duration)>,
    /// When the server said something last.
    last_word: Instant,
    /// When the end of the list was sent that is in the answer.
    listed: Option<Instant>,
}

impl World {
    fn new(list: ListMode, rhythm: Duration, honest: bool, jitter: f64) -> Self {
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        Self {
            machine: WatchMachine::new(Rules {
                timeouts: Timeouts::default(),
                list,
                page_size: 3,
                selector: true,
            }),
            streams: None,
            now: start,
            start,
            jitter,
            objects: (0..7).collect(),
            version: 1_000_000,
            log: Vec::new(),
            oldest: 0,
            snapshot: (Vec::new(), 0),
            next_change: start + rhythm,
            rhythm,
            changes: 0,
            honest,
            state: BTreeMap::new(),
            staged: None,
            requests: Vec::new(),
            listing: Vec::new(),
            last_word: start,
            listed: None,
        }
    }

    /// Plays until then, in these moods, one after the other and again.
    fn play(&mut self, moods: &[Mood], until: Instant) {
        let mut moods = moods.iter().copied().cycle();
        while self.now < until {
            let ask = match self.machine.next(self.now, self.streams) {
                WatchStep::Wait(at) => {
                    self.pass(at.min(until));
                    continue;
                }
                WatchStep::Request(ask) => Asked::of(&ask),
            };
            if !matches!(ask, Asked::Page { at: Some(_), .. }) {
                self.requests.push(self.now);
            }
            self.machine.asked(self.now);
            let mood = moods.next().unwrap_or(Mood::Healthy);
            let asked = self.now;
            let end = self.answer(&ask, mood, until);
            if matches!(ask, Asked::List | Asked::Page { .. }) {
                let in_vain = matches!(end, Some(RequestError::Silence | RequestError::NoEndMark));
                let last_word = if in_vain { self.last_word } else { self.now };
                let ended = self.listed.take().unwrap_or(last_word.max(asked));
                self.listing.push((asked, ended - asked));
            }
            if let Some(end) = end {
                self.over(end);
            }
            self.streams = self.machine.streams().or(self.streams);
            while self.machine.take_note().is_some() {}
        }
    }

    fn over(&mut self, end: RequestError) {
        let (now, jitter) = (self.now, self.jitter);
        self.machine.over(end, Moment { now, jitter });
    }

    /// Time passes, and the cluster lives.
    fn pass(&mut self, until: Instant) {
        while self.next_change <= until {
            self.changes += 1;
            self.version += 1;
            let object = (self.changes * 7 % 11) as u8;
            let there = !self.objects.remove(&object);
            if there {
                self.objects.insert(object);
            }
            self.log.push((self.version, object, there));
            self.next_change += self.rhythm;
        }
        self.now = self.now.max(until);
    }

    /// Answers a request; its end, unless it has led to where it should.
    fn answer(&mut self, ask: &Asked, mood: Mood, until: Instant) -> Option<RequestError> {
        let millis = |n: u16| Duration::from_millis(n.into());
        match mood {
            Mood::Code(code, late) => {
                if let Some(end) = self.quiet(self.now + millis(late)) {
                    return Some(end);
                }
                return Some(refused(code));
            }
            Mood::Silent => return self.quiet(until + 100 * SECOND),
            Mood::Unreachable => return Some(RequestError::Unreachable("refused".to_owned())),
            Mood::NotAnApiServer => return Some(RequestError::NotAnApiServer),
            Mood::Redirected => return Some(RequestError::Redirected("http://b".to_owned())),
            Mood::Compacts => self.oldest = self.version,
            Mood::Restored => {
                self.version -= 5_000;
                self.log.clear();
                self.oldest = 0;
                self.objects.retain(|object| object % 2 == 0);
            }
            Mood::Healthy
            | Mood::ErrorEvent(..)
            | Mood::Cut(_)
            | Mood::Ended(_)
            | Mood::Slow(_)
            | Mood::NoMark
            | Mood::InvalidJson
            | Mood::Expired => {}
        }
        match ask {
            Asked::Version => {
                self.pass(self.now + millis(20));
                self.machine.checked(&self.version.to_string()).err()
            }
            Asked::Page { limit, at } => self.page(mood, *limit, *at),
            Asked::List => self.stream(mood, None, until),
            Asked::Watch(version) => self.stream(mood, Some(*version), until),
        }
    }

    /// Nothing comes until then, or until the machine has had enough.
    fn quiet(&mut self, until: Instant) -> Option<RequestError> {
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= until) {
            self.pass(due);
            if let Some(end) = self.machine.timed_out(self.now) {
                return Some(end);
            }
        }
        self.pass(until);
        None
    }

    fn page(&mut self, mood: Mood, limit: usize, at: Option<usize>) -> Option<RequestError> {
        self.machine.opened(self.now);
        let mut late = Duration::from_millis(20);
        match mood {
            Mood::Cut(after) | Mood::Ended(after) | Mood::ErrorEvent(_, after) => {
                let broken = self.now + Duration::from_millis(after.into());
                let end = self.quiet(broken);
                return end.or(Some(RequestError::Cut("in a page".to_owned())));
            }
            Mood::InvalidJson => return Some(RequestError::InvalidJson),
            Mood::Expired if at.is_some() => return Some(refused(410)),
            Mood::Slow(each) => late = Duration::from_millis(each.into()) * 3,
            Mood::Healthy
            | Mood::Code(..)
            | Mood::NoMark
            | Mood::Silent
            | Mood::Unreachable
            | Mood::NotAnApiServer
            | Mood::Redirected
            | Mood::Expired
            | Mood::Compacts
            | Mood::Restored => {}
        }
        if let Some(end) = self.quiet(self.now + late) {
            return Some(end);
        }
        self.machine.reading(self.now);
        self.send_page(limit, at)
    }

    fn send_page(&mut self, limit: usize, at: Option<usize>) -> Option<RequestError> {
        if at.is_none() {
            self.snapshot = (self.objects.iter().copied().collect(), self.version);
        }
        let at = at.unwrap_or_default();
        let (all, version) = &self.snapshot;
        let objects: Vec<u8> = all.iter().copied().skip(at).take(limit).collect();
        let next = (at + limit < all.len()).then(|| (at + limit).to_string());
        let version = version.to_string();
        let (state, staged) = (&mut self.state, &mut self.staged);
        self.machine
            .page(objects, &version, next.as_deref(), |event| {
                fold(state, staged, event);
            })
            .err()
    }

    fn line(&mut self, line: Line<'_, u8>) -> Option<RequestError> {
        self.last_word = self.now;
        let (state, staged) = (&mut self.state, &mut self.staged);
        let flow = self
            .machine
            .line(line, |event| fold(state, staged, event))
            .break_value();
        self.machine.listening(self.now);
        flow
    }

    /// A streamed list, or a watch from a version.
    fn stream(&mut self, mood: Mood, from: Option<u64>, until: Instant) -> Option<RequestError> {
        self.machine.opened(self.now);
        self.machine.listening(self.now);
        let lasts = if from.is_some() { 60 } else { 300 };
        let mut broken = self.now + lasts * SECOND;
        let mut end = RequestError::Regular;
        let mut each = Duration::from_millis(1);
        let in_millis = |n: u16| Duration::from_millis(n.into());
        match mood {
            Mood::Cut(after) => {
                (broken, end) = (
                    self.now + in_millis(after),
                    RequestError::Cut("cut".to_owned()),
                );
            }
            Mood::Ended(after) => broken = self.now + in_millis(after),
            Mood::ErrorEvent(code, after) => {
                (broken, end) = (self.now + in_millis(after), refused(code));
            }
            Mood::Slow(late) => each = in_millis(late),
            Mood::InvalidJson => return self.line(Line::InvalidJson),
            Mood::Healthy
            | Mood::Code(..)
            | Mood::NoMark
            | Mood::Silent
            | Mood::Unreachable
            | Mood::NotAnApiServer
            | Mood::Redirected
            | Mood::Expired
            | Mood::Compacts
            | Mood::Restored => {}
        }
        let mut version = match from {
            Some(version) if version < self.oldest => {
                return Some(refused(if self.honest { 410 } else { 500 }));
            }
            Some(version) => version,
            None => {
                let objects: Vec<u8> = self.objects.iter().copied().collect();
                let version = self.version;
                for object in objects {
                    let at = self.now + each;
                    if let Some(over) = self.listen(at.min(broken)) {
                        return over;
                    }
                    if at >= broken {
                        return Some(end);
                    }
                    let text = version.to_string();
                    let (object, version) = (object, Cow::Borrowed(text.as_str()));
                    if let Some(end) = self.line(Line::Added { object, version }) {
                        return Some(end);
                    }
                }
                if !matches!(mood, Mood::NoMark) {
                    let version = Cow::Owned(version.to_string());
                    let initial_events_end = true;
                    let mark = Line::Bookmark {
                        version,
                        initial_events_end,
                    };
                    if let Some(end) = self.line(mark) {
                        return Some(end);
                    }
                    self.listed = Some(self.now);
                }
                version
            }
        };
        loop {
            let fresh: Vec<_> = self
                .log
                .iter()
                .copied()
                .filter(|(at, ..)| *at > version)
                .collect();
            for (at, object, there) in fresh {
                version = at;
                let version = Cow::Owned(at.to_string());
                let line = match there {
                    true => Line::Added { object, version },
                    false => Line::Deleted { object, version },
                };
                if let Some(end) = self.line(line) {
                    return Some(end);
                }
            }
            if self.now >= broken || self.now >= until {
                return Some(end);
            }
            let next = self.next_change.min(broken).max(self.now);
            if let Some(over) = self.listen(next) {
                return over;
            }
        }
    }

    /// Listens until then. `Some` if the request is over, or a page has taken its place.
    fn listen(&mut self, until: Instant) -> Option<Option<RequestError>> {
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= until) {
            self.pass(due.max(self.now));
            if let Some(end) = self.machine.timed_out(self.now) {
                return Some(Some(end));
            }
            let limit = match self.machine.alongside(self.now) {
                Some(ApiRequest::Page { limit, .. }) => limit as usize,
                _ => continue,
            };
            self.requests.push(self.now);
            if self.machine.alongside_came(limit.min(self.objects.len())) {
                return Some(self.send_page(limit, None));
            }
        }
        self.pass(until);
        None
    }

    fn is_right(&self) -> bool {
        self.staged.is_none() && self.state.keys().eq(self.objects.iter())
    }

    /// Requests in a minute, and the share of time that lists took, between these moments.
    fn burden(&self, from: Instant, until: Instant) -> (f64, f64) {
        let within = |at: &&Instant| **at >= from && **at < until;
        let seconds = (until - from).as_secs_f64();
        let requests = self.requests.iter().filter(within).count() as f64;
        let listing: f64 = self
            .listing
            .iter()
            .filter(|(at, _)| within(&at))
            .map(|(_, took)| took.as_secs_f64())
            .sum();
        (requests * 60.0 / seconds, listing / seconds)
    }
}

enum Asked {
    List,
    Page { limit: usize, at: Option<usize> },
    Version,
    Watch(u64),
}

impl Asked {
    fn of(ask: &ApiRequest<'_>) -> Self {
        match ask {
            ApiRequest::StreamedList => Self::List,
            ApiRequest::Page { limit, token } => Self::Page {
                limit: *limit as usize,
                at: token.map(|token| token.parse().unwrap()),
            },
            ApiRequest::Version { .. } => Self::Version,
            ApiRequest::Watch { version } => Self::Watch(version.parse().unwrap()),
        }
    }
}

/// As the stores do it (D1).
fn fold(state: &mut BTreeMap<u8, ()>, staged: &mut Option<BTreeMap<u8, ()>>, event: Event<u8>) {
    match event {
        Event::Init => *staged = Some(BTreeMap::new()),
        Event::InitApply(object) => {
            if let Some(staged) = staged {
                staged.insert(object, ());
            }
        }
        Event::InitDone => *state = staged.take().unwrap_or_default(),
        Event::Apply(object) => drop(state.insert(object, ())),
        Event::Delete(object) => drop(state.remove(&object)),
    }
}

/// A history, and then a healthy server.
fn check(
    moods: &[Mood],
    sick: Duration,
    list: ListMode,
    honest: bool,
    jitter: f64,
    within: Duration,
) -> Result<(), TestCaseError> {
    // An odd rhythm: what happens falls on no round time.
    let mut world = World::new(list, Duration::from_millis(9_700), honest, jitter);
    let healed = world.start + sick;
    world.play(moods, healed);
    let healed = world.now;
    world.play(&[Mood::Healthy], healed + within);
    // What has just happened may be on its way.
    world.next_change = world.now + 10_000 * SECOND;
    world.play(&[Mood::Healthy], world.now + 90 * SECOND);
    prop_assert!(
        world.is_right(),
        "{:?} is not {:?}",
        world.state,
        world.objects
    );
    let minute = world.start + 60 * SECOND;
    let (requests, share) = world.burden(minute, world.now);
    prop_assert!(requests <= 10.5, "{} requests a minute", requests);
    prop_assert!(share <= 0.2, "{} of the time", share);
    if sick >= 600 * SECOND {
        // Some may come at once after a quiet time, and a list after the first event.
        let (requests, share) = world.burden(minute, healed);
        prop_assert!(requests <= 12.0, "{} requests a minute when sick", requests);
        prop_assert!(share <= 0.25, "{} of the time when sick", share);
    }
    Ok(())
}

fn modes() -> impl Strategy<Value = ListMode> {
    prop_oneof![
        3 => Just(ListMode::Auto),
        1 => Just(ListMode::Pages),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The longest pause before a list is ten minutes; a request without an answer and a back-off
    /// may lie before and behind it.
    #[test]
    fn from_any_history_the_state_becomes_right_in_twelve_minutes(
        moods in moods(false),
        sick in 0..3_600_u64,
        list in modes(),
        honest in any::<bool>(),
        jitter in 0.0..0.99,
    ) {
        let sick = Duration::from_secs(sick);
        check(&moods, sick, list, honest, jitter, 720 * SECOND)?;
    }

    /// A probe that was refused or slow rests for ten minutes, and a list that did not help
    /// delays the next one by ten at most; watches are opened each minute.
    #[test]
    fn a_store_that_was_restored_is_noticed_in_twenty_five_minutes(
        moods in moods(true),
        sick in 0..3_600_u64,
        list in modes(),
        jitter in 0.0..0.99,
    ) {
        let sick = Duration::from_secs(sick);
        check(&moods, sick, list, true, jitter, 1_500 * SECOND)?;
    }
}

#[test]
fn a_server_that_answers_each_request_with_another_code_in_turn_is_outlived() {
    let codes = [
        500, 429, 410, 403, 400, 503, 401, 422, 504, 404, 502, 0, 406,
    ];
    for (first, list) in (0..codes.len()).zip([ListMode::Auto, ListMode::Pages].into_iter().cycle())
    {
        let moods: Vec<Mood> = codes
            .iter()
            .cycle()
            .skip(first)
            .take(codes.len())
            .map(|code| Mood::Code(*code, 5))
            .collect();
        check(&moods, 1_800 * SECOND, list, true, 0.3, 720 * SECOND).unwrap();
    }
}
