//! One watch: sends what the machine asks for, reads what comes, hands on the events.

use std::{
    convert::Infallible,
    future::{Future, pending},
    ops::ControlFlow,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Instant,
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header::ACCEPT};
use http_body_util::BodyExt;
use kube::{client::Body, runtime::watcher::Event};
use tokio::{
    sync::mpsc,
    time::{self, sleep_until},
};
use tracing::{info, warn};

use super::{
    Counters, Options, Server, Streams,
    answer::{Part, end_of_page, is_html, wanted_pause, words},
    decode::{Dropped, MAX_OBJECT_LEN, ObjectError, Thin, decode_line, decode_page},
    ending::{End, Reason, Refusal, causes},
    frames::{Frame, Frames},
    machine::{Ask, Machine, Moment, Next, Note, Rules},
    target::Target,
};
use crate::{
    model::{Interner, Scope, Uid},
    source::{FeedEvent, WatchFailure, WatchHealth, WatchInput},
};

/// A batch never has more events.
const BATCH: usize = 256;

/// So much is read of an answer that says no, in bytes.
const MAX_REFUSAL: usize = 16 << 10;

/// What all watches share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) inputs: mpsc::Sender<WatchInput>,
    pub(super) counters: Arc<Counters>,
    pub(super) streams: Arc<Streams>,
    pub(super) options: Arc<Options>,
}

/// A watch of a kind in a scope.
pub(super) struct Watch<K: Thin> {
    target: Target,
    scope: Scope,
    shared: Shared,
    machine: Machine<K::Object>,
    texts: Texts,
    /// What is to be told.
    batch: Vec<FeedEvent>,
    /// Since it was counted last.
    dropped: Dropped,
    /// Reasons that were said.
    said: Vec<ObjectError>,
    /// What we have said about streamed lists.
    learned: Option<bool>,
    /// The length of the last page: the next one is probably as long.
    page_length: usize,
    reported: Reported,
    /// How the last request failed that did.
    last_failure: Option<WatchFailure>,
}

/// What the driver was sent last.
struct Reported {
    health: Option<WatchHealth>,
    /// Since when it is so.
    since: Instant,
    /// Its reason and text.
    failure: Option<(Reason, String)>,
}

/// The texts of all watches of a kind: what repeats in two namespaces exists once, too. Locked
/// for one line or page, which waits for nothing.
#[derive(Clone, Default)]
pub(super) struct Texts(Arc<Mutex<Interner>>);

impl Texts {
    fn lock(&self) -> MutexGuard<'_, Interner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody listens to the watches any more.
#[derive(Debug)]
pub(super) struct Gone;

/// How an answer with 200 is read.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Stream,
    Page,
    Version,
}

impl<K: Thin> Watch<K> {
    pub(super) fn new(target: Target, scope: Scope, shared: Shared, texts: Texts) -> Self {
        let rules = Rules {
            patience: shared.options.patience.clone(),
            list: shared.options.list,
            page_size: shared.options.page_size,
        };
        Self {
            target,
            scope,
            shared,
            machine: Machine::new(rules),
            texts,
            batch: Vec::new(),
            dropped: Dropped::default(),
            said: Vec::new(),
            learned: None,
            page_length: 0,
            reported: Reported {
                health: None,
                since: now(),
                failure: None,
            },
            last_failure: None,
        }
    }

    /// Watches until nobody listens. May be dropped at any time.
    pub(super) async fn run(mut self) -> Result<Infallible, Gone> {
        loop {
            let streams = self.shared.streams.known();
            match self.machine.next(now(), streams) {
                Next::Wait(until) => sleep_until(until.into()).await,
                Next::Ask(ask) => {
                    let sort = Sort::of(&ask);
                    let end = match request(&self.target, &ask, &self.shared.options) {
                        Ok(request) => self.ask(request, sort).await?,
                        Err(error) => Some(End::Unreachable(causes(&error))),
                    };
                    if let Some(end) = end {
                        self.over(end);
                    }
                }
            }
            self.report().await?;
        }
    }

    /// Makes a request. `None` if it has led to where it should.
    async fn ask(&mut self, request: Request<Body>, sort: Sort) -> Result<Option<End>, Gone> {
        self.shared.counters.requests.fetch_add(1, Relaxed);
        self.machine.asked(now());
        let client = self.shared.server.client.clone();
        let answer = match in_time(&mut self.machine, client.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Ok(Some(End::Unreachable(words(&error)))),
            Err(end) => return Ok(Some(end)),
        };
        let status = answer.status();
        let strange = matches!(
            status,
            StatusCode::OK | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
        ) && is_html(answer.headers());
        if strange {
            return Ok(Some(End::Stranger));
        }
        if status != StatusCode::OK {
            return Ok(Some(self.refused(answer).await));
        }
        let body = answer.into_body();
        match sort {
            Sort::Stream => self.stream(body).await.map(Some),
            Sort::Page => self.page(body).await,
            Sort::Version => Ok(self.version(body).await.err()),
        }
    }

    // === streams ===

    async fn stream(&mut self, mut body: Body) -> Result<End, Gone> {
        self.machine.opened(now());
        let mut frames = Frames::new(MAX_OBJECT_LEN);
        loop {
            let mut part = match self.listen(&mut body).await? {
                Ok(part) => part,
                Err(end) => return Ok(end),
            };
            // All that is there already goes into one batch.
            let end = loop {
                if let ControlFlow::Break(end) = self.part(part, &mut frames).await? {
                    break Some(end);
                }
                match body.frame().now_or_never() {
                    Some(next) if self.batch.len() < BATCH => part = Part::of(next),
                    Some(next) => {
                        self.flush().await?;
                        part = Part::of(next);
                    }
                    None => break None,
                }
            };
            self.flush().await?;
            self.report().await?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Waits for the next part of a stream.
    async fn listen(&mut self, body: &mut Body) -> Result<Result<Part, End>, Gone> {
        self.machine.listening(now());
        loop {
            let due = self.machine.poll_timeout();
            tokio::select! {
                biased;
                frame = body.frame() => return Ok(Ok(Part::of(frame))),
                () = until(due) => match self.machine.timed_out(now()) {
                    Some(end) => return Ok(Err(end)),
                    None => self.report().await?,
                },
            }
        }
    }

    async fn part(&mut self, part: Part, frames: &mut Frames) -> Result<ControlFlow<End>, Gone> {
        let end = match part {
            Part::Data(data) => {
                frames.push(data);
                None
            }
            Part::End(end) => Some(end),
        };
        while let Some(frame) = frames.take() {
            match frame {
                Frame::TooLong => self.dropped.count(ObjectError::TooLarge),
                Frame::Line(line) => {
                    if let ControlFlow::Break(end) = self.line(line) {
                        return Ok(ControlFlow::Break(end));
                    }
                }
            }
            if self.batch.len() >= BATCH {
                self.flush().await?;
            }
        }
        Ok(match end {
            None => ControlFlow::Continue(()),
            Some(End::Regular) => ControlFlow::Break(self.last_line(frames)),
            Some(end) => ControlFlow::Break(end),
        })
    }

    /// A server ends every line. If the last one has no end, it may be cut.
    fn last_line(&mut self, frames: &mut Frames) -> End {
        match frames.rest().map(|rest| self.line(rest)) {
            None | Some(ControlFlow::Continue(())) => End::Regular,
            Some(ControlFlow::Break(End::Garbled)) => End::Cut("within a line".to_owned()),
            Some(ControlFlow::Break(end)) => end,
        }
    }

    fn line(&mut self, line: &[u8]) -> ControlFlow<End> {
        let Self {
            shared,
            machine,
            texts,
            batch,
            dropped,
            ..
        } = self;
        let decoding = &shared.options.decoding;
        let line = decode_line::<K>(line, decoding, &mut texts.lock(), dropped);
        let seen = line.unusable().cloned();
        let flow = machine.line(line, |event| tell::<K>(event, batch, &shared.counters));
        batch.extend(seen.map(see::<K>));
        flow
    }

    // === pages ===

    async fn page(&mut self, body: Body) -> Result<Option<End>, Gone> {
        let text = match self.collect(body).await {
            Ok(text) => text,
            Err(end) => return Ok(Some(end)),
        };
        let Self {
            shared,
            machine,
            texts,
            batch,
            dropped,
            ..
        } = self;
        let mut objects = Vec::new();
        let decoding = &shared.options.decoding;
        let read = decode_page::<K>(&text, decoding, &mut texts.lock(), |object| {
            objects.push(object);
        });
        let taken = match read {
            Ok(page) => {
                dropped.add(page.dropped);
                let next = page.continue_token.as_deref();
                let mut seen = page.unusable.into_iter().map(see::<K>);
                let taken = machine.page(objects, &page.version, next, |event| {
                    if let Event::InitDone = event {
                        batch.extend(&mut seen);
                    }
                    tell::<K>(event, batch, &shared.counters);
                });
                if taken.is_ok() {
                    batch.extend(seen);
                }
                taken
            }
            Err(error) => Err(end_of_page(error)),
        };
        drop(text);
        self.flush().await?;
        Ok(taken.err())
    }

    async fn version(&mut self, body: Body) -> Result<(), End> {
        let text = self.collect(body).await?;
        let decoding = &self.shared.options.decoding;
        let page = decode_page::<K>(&text, decoding, &mut self.texts.lock(), |_| ());
        let page = page.map_err(end_of_page)?;
        self.machine.checked(&page.version)
    }

    /// Reads an answer as a whole.
    async fn collect(&mut self, body: Body) -> Result<Vec<u8>, End> {
        let mut text = Vec::with_capacity(self.page_length);
        let most = self.shared.options.max_page;
        match self.read(body, &mut text, most).await {
            Part::End(End::Regular) => {
                self.page_length = text.len();
                Ok(text)
            }
            Part::End(end) => Err(end),
            Part::Data(_) => Err(End::TooLarge(most)),
        }
    }

    /// Reads until the end, or until something would exceed `most` bytes.
    async fn read(&mut self, mut body: Body, text: &mut Vec<u8>, most: usize) -> Part {
        loop {
            self.machine.asked(now());
            match in_time(&mut self.machine, body.frame()).await.map(Part::of) {
                Ok(Part::Data(data)) if text.len() + data.len() <= most => {
                    text.extend_from_slice(&data);
                }
                Ok(part) => return part,
                Err(end) => return Part::End(end),
            }
        }
    }

    async fn refused(&mut self, answer: Response<Body>) -> End {
        let code = answer.status().as_u16();
        let wanted = wanted_pause(answer.headers());
        let mut text = Vec::new();
        // Whatever came of it will do: the status line says no already.
        let _ = self.read(answer.into_body(), &mut text, MAX_REFUSAL).await;
        End::Refused(Refusal::of_answer(code, wanted, &text))
    }

    // === telling ===

    fn over(&mut self, end: End) {
        let at = Moment {
            now: now(),
            jitter: fastrand::f64(),
        };
        self.shared.counters.count_end(K::KIND, end.reason());
        if !matches!(end, End::Regular) {
            self.shared.counters.failures.fetch_add(1, Relaxed);
            self.last_failure = Some(WatchFailure {
                reason: end.reason(),
                text: end.to_string(),
                at: at.now,
            });
        }
        self.machine.over(end, at);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.count_dropped();
        while !self.batch.is_empty() {
            let events = if self.batch.len() <= BATCH {
                std::mem::take(&mut self.batch)
            } else {
                self.batch.drain(..BATCH).collect()
            };
            let scope = self.scope;
            let batch = WatchInput::Batch { scope, events };
            self.shared.send(batch).await?;
        }
        Ok(())
    }

    /// Tells what has changed beside the objects.
    async fn report(&mut self) -> Result<(), Gone> {
        let streams = self.machine.streams();
        if let Some(streams) = streams.filter(|_| streams != self.learned) {
            self.learned = Some(streams);
            self.shared.streams.learn(streams);
        }
        while let Some(note) = self.machine.take_note() {
            self.log(&note);
            match note {
                Note::Well { .. } => self.send_health(WatchHealth::Well).await?,
                Note::Failing(_) => self.send_health(WatchHealth::Failing).await?,
                Note::Denied(_) => self.send_health(WatchHealth::Denied).await?,
                Note::StaysDenied(_) | Note::ListsAgain(_) => {}
            }
        }
        // It may fail for another reason now.
        match self.reported.health {
            Some(health @ (WatchHealth::Failing | WatchHealth::Denied)) => {
                self.send_health(health).await
            }
            Some(WatchHealth::Well) | None => Ok(()),
        }
    }

    async fn send_health(&mut self, health: WatchHealth) -> Result<(), Gone> {
        let last_failure = self.last_failure.clone();
        let failure = last_failure.clone().map(|last| (last.reason, last.text));
        let reported = &mut self.reported;
        if reported.health == Some(health) && reported.failure == failure {
            return Ok(());
        }
        if reported.health != Some(health) {
            (reported.health, reported.since) = (Some(health), now());
        }
        reported.failure = failure;
        let health = WatchInput::Health {
            kind: K::KIND,
            scope: self.scope,
            health,
            since: reported.since,
            last_failure,
        };
        self.shared.send(health).await
    }

    fn log(&self, note: &Note) {
        let (kind, namespace) = (self.target.resource(), self.target.namespace());
        let server = self.shared.server.url();
        match note {
            Note::Well { failures } => info!(kind, namespace, failures, "watch works"),
            Note::Failing(why) => {
                warn!(kind, namespace, server, %why, "watch fails and is tried again");
            }
            Note::Denied(why) => {
                info!(kind, namespace, server, %why, "watch is refused, and tried again");
            }
            Note::StaysDenied(why) => {
                let grant = self.target.grant();
                warn!(kind, namespace, server, %why, "watch is refused: grant {grant}");
            }
            Note::ListsAgain(why) => info!(kind, namespace, %why, "watch lists again"),
        }
    }

    fn count_dropped(&mut self) {
        if self.dropped.is_empty() {
            return;
        }
        let mut dropped = std::mem::take(&mut self.dropped);
        for (name, why) in dropped.take_named() {
            self.shared.counters.lost.remember(name, why.label());
        }
        for (why, objects) in dropped.iter() {
            self.shared.counters.drop_objects(why, objects);
            if !self.said.contains(&why) {
                self.said.push(why);
                let (kind, namespace) = (self.target.resource(), self.target.namespace());
                warn!(kind, namespace, %why, "an object is dropped; such ones are counted");
            }
        }
    }
}

impl Shared {
    async fn send(&self, input: WatchInput) -> Result<(), Gone> {
        self.inputs.send(input).await.map_err(|_| Gone)
    }
}

impl Sort {
    fn of(ask: &Ask<'_>) -> Self {
        match ask {
            Ask::StreamedList | Ask::Watch { .. } => Self::Stream,
            Ask::Page { .. } => Self::Page,
            Ask::Version => Self::Version,
        }
    }
}

fn request(
    target: &Target,
    ask: &Ask<'_>,
    options: &Options,
) -> Result<Request<Body>, http::Error> {
    Request::get(target.path(ask, &options.patience))
        .header(ACCEPT, target.accept(ask))
        .body(Body::empty())
}

fn tell<K: Thin>(event: Event<K::Object>, batch: &mut Vec<FeedEvent>, counters: &Counters) {
    if let Event::InitDone = event {
        counters.lists.fetch_add(1, Relaxed);
    }
    batch.push(K::fact(event));
}

fn see<K: Thin>(uid: Uid) -> FeedEvent {
    FeedEvent::Seen(K::KIND, Box::new(uid))
}

/// Waits as long as the machine is ready to.
async fn in_time<T, O>(
    machine: &mut Machine<T>,
    future: impl Future<Output = O>,
) -> Result<O, End> {
    let mut future = pin!(future);
    loop {
        let due = machine.poll_timeout();
        tokio::select! {
            biased;
            done = &mut future => return Ok(done),
            () = until(due) => if let Some(end) = machine.timed_out(now()) {
                return Err(end);
            },
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "where time enters the watches")]
fn now() -> Instant {
    time::Instant::now().into_std()
}
