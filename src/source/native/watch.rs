//! One watch: sends what the machine asks for, reads what comes, hands on the events.

mod report;

use std::{
    convert::Infallible,
    future::{Future, pending},
    ops::ControlFlow,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Instant,
};

use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::{client::Body, runtime::watcher::Event};
use report::Reported;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{self, sleep_until},
};

use super::{
    Counters, Options, Server, Streams, Unmatched,
    decode::{
        Decoding, Dropped, MAX_OBJECT_LEN, ObjectError, PageEnd, PageReader, SharedTexts,
        WatchedKind, decode_line, decode_page,
    },
    error::{Refusal, RequestError, causes},
    lines::{LineSplitter, RawLine},
    machine::{ApiRequest, Moment, Rules, WatchMachine, WatchStep},
    outlet::Outlet,
    request::{Declined, Sort, accepted, in_time, request, until, whole_answer},
    resource::Resource,
    response::{Part, encoding, end_of_page, no_answer, wanted_pause},
    turns::Turn,
};
use crate::{
    model::{Interner, Seed, Stored},
    source::{WatchFailure, WatchMessage},
};

/// So much is read of an answer that says no, in bytes.
const MAX_REFUSAL: usize = 16 << 10;

/// What all watches share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) inputs: mpsc::Sender<WatchMessage>,
    pub(super) unmatched: Arc<Unmatched>,
    /// For first lists.
    pub(super) turns: Arc<Semaphore>,
    pub(super) counters: Arc<Counters>,
    pub(super) streams: Arc<Streams>,
    pub(super) options: Arc<Options>,
}

/// A watch of a kind in a scope.
pub(super) struct Watch<K: WatchedKind> {
    resource: Resource,
    shared: Shared,
    machine: WatchMachine<K::Object>,
    texts: Texts,
    /// What is read of objects.
    decoding: Decoding,
    /// Where what it sees goes.
    outlet: Outlet<K::Object>,
    turn: Turn,
    /// Since it was counted last.
    dropped: Dropped,
    /// Reasons that were said.
    said: Vec<ObjectError>,
    /// What we have said about streamed lists.
    learned: Option<bool>,
    reported: Reported,
    /// How the last request failed that did.
    last_failure: Option<WatchFailure>,
}

/// The texts of all watches of a kind: what repeats in two namespaces exists once, too. Locked
/// for one object that has been read, never for a page.
#[derive(Clone)]
pub(super) struct Texts(Arc<Mutex<Interner>>);

impl Texts {
    pub(super) fn new(seed: Seed) -> Self {
        Self(Arc::new(Mutex::new(Interner::new(seed))))
    }
}

impl SharedTexts for Texts {
    type Guard<'a> = MutexGuard<'a, Interner>;

    fn texts(&mut self) -> MutexGuard<'_, Interner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page that is requested alongside a stream.
type Alongside = Pin<Box<dyn Future<Output = Result<Vec<u8>, RequestError>> + Send>>;

/// What comes next while a stream is read.
enum Heard {
    Part(Part),
    /// The page that was requested alongside it.
    Alongside(Result<Vec<u8>, RequestError>),
    Over(RequestError),
}

/// Nobody listens to the watches any more.
#[derive(Debug)]
pub(super) struct Gone;

impl<K: WatchedKind> Watch<K> {
    pub(super) fn new(
        resource: Resource,
        outlet: Outlet<K::Object>,
        shared: Shared,
        texts: Texts,
    ) -> Self {
        let rules = Rules {
            timeouts: shared.options.timeouts.clone(),
            list: shared.options.list,
            page_size: shared.options.page_size,
            selector: resource.is_selected(),
        };
        Self {
            resource,
            turn: Turn::new(Arc::clone(&shared.turns), shared.options.timeouts.turn),
            decoding: shared.options.decoding.clone(),
            shared,
            machine: WatchMachine::new(rules),
            texts,
            outlet,
            dropped: Dropped::default(),
            said: Vec::new(),
            learned: None,
            reported: Reported::nothing(),
            last_failure: None,
        }
    }

    /// Watches until nobody listens. May be dropped at any time.
    pub(super) async fn run(mut self) -> Result<Infallible, Gone> {
        loop {
            let streams = self.shared.streams.known();
            match self.machine.next(now(), streams) {
                WatchStep::Wait(until) => sleep_until(until.into()).await,
                WatchStep::Request(ask) => {
                    let sort = Sort::of(&ask);
                    let end = match request(&self.resource, &ask, &self.shared.options) {
                        Ok(request) => {
                            self.turn.come().await;
                            let silence = self.turn.pass_if_silent();
                            tokio::select! {
                                biased;
                                end = self.ask(request, sort) => end?,
                                never = silence => match never {},
                            }
                        }
                        Err(error) => Some(RequestError::Unreachable(causes(&error))),
                    };
                    if let Some(end) = end {
                        self.over(end, sort);
                    }
                }
            }
            self.report().await?;
        }
    }

    /// Makes a request. `None` if it has led to where it should.
    async fn ask(
        &mut self,
        request: Request<Body>,
        sort: Sort,
    ) -> Result<Option<RequestError>, Gone> {
        self.shared.counters.requests.fetch_add(1, Relaxed);
        self.machine.asked(now());
        let client = self.shared.server.client.clone();
        let path = request.uri().path().to_owned();
        let answer = match in_time(&mut self.machine, client.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Ok(Some(no_answer(&error))),
            Err(end) => return Ok(Some(end)),
        };
        let answer = match accepted(answer, &path) {
            Ok(answer) => answer,
            Err(Declined::End(end)) => return Ok(Some(end)),
            Err(Declined::Answer(answer)) => return Ok(Some(self.refused(*answer).await)),
        };
        self.machine.opened(now());
        self.heard();
        let body = answer.into_body();
        match sort {
            Sort::Stream => self.stream(body).await,
            Sort::Page => self.page(body).await,
            Sort::Version => Ok(self.version(body).await.err()),
        }
    }

    /// The server has said something.
    fn heard(&self) {
        self.outlet.heard();
        self.turn.heard();
    }

    // === streams ===

    /// Reads a stream to its end; `None` if a page took its place.
    async fn stream(&mut self, mut body: Body) -> Result<Option<RequestError>, Gone> {
        let mut frames = LineSplitter::new(MAX_OBJECT_LEN);
        let mut alongside = None;
        loop {
            let mut part = match self.listen(&mut body, &mut alongside).await? {
                Heard::Part(part) => part,
                Heard::Alongside(page) => {
                    if let Ok(text) = page
                        && self.page_alongside(text).await?
                    {
                        return Ok(None);
                    }
                    // The stream goes on as if nobody had asked.
                    continue;
                }
                Heard::Over(end) => return Ok(Some(end)),
            };
            self.heard();
            // All that is there already goes into one batch.
            let end = loop {
                self.outlet.reads(now());
                if let ControlFlow::Break(end) = self.part(part, &mut frames).await? {
                    break Some(end);
                }
                match body.frame().now_or_never() {
                    Some(next) if !self.outlet.is_full() => part = Part::of(next),
                    Some(next) => {
                        self.flush().await?;
                        part = Part::of(next);
                    }
                    None => break None,
                }
            };
            self.flush().await?;
            self.report().await?;
            if end.is_some() {
                return Ok(end);
            }
        }
    }

    /// Waits for the next part of a stream, or for the page alongside it.
    async fn listen(
        &mut self,
        body: &mut Body,
        alongside: &mut Option<Alongside>,
    ) -> Result<Heard, Gone> {
        self.machine.listening(now());
        loop {
            let due = self.machine.poll_timeout();
            tokio::select! {
                biased;
                frame = body.frame() => return Ok(Heard::Part(Part::of(frame))),
                page = page_of(alongside) => {
                    *alongside = None;
                    return Ok(Heard::Alongside(page));
                }
                () = until(due) => match self.machine.timed_out(now()) {
                    Some(end) => return Ok(Heard::Over(end)),
                    None => self.report().await?,
                },
            }
            if let Some(ask) = self.machine.alongside(now()) {
                *alongside = self.ask_alongside(&ask);
            }
        }
    }

    /// Asks for a page while a stream is read.
    fn ask_alongside(&self, ask: &ApiRequest<'_>) -> Option<Alongside> {
        let request = request(&self.resource, ask, &self.shared.options).ok()?;
        self.shared.counters.requests.fetch_add(1, Relaxed);
        let client = self.shared.server.client.clone();
        let Options {
            timeouts, max_page, ..
        } = &*self.shared.options;
        Some(Box::pin(whole_answer(
            client,
            request,
            timeouts.silence,
            *max_page,
        )))
    }

    async fn part(
        &mut self,
        part: Part,
        frames: &mut LineSplitter,
    ) -> Result<ControlFlow<RequestError>, Gone> {
        let end = match part {
            Part::Data(data) => {
                frames.push(data);
                None
            }
            Part::End(end) => Some(end),
        };
        while let Some(frame) = frames.take() {
            match frame {
                RawLine::TooLong => self.dropped.count(ObjectError::TooLarge),
                RawLine::Line(line) => {
                    if let ControlFlow::Break(end) = self.line(line) {
                        return Ok(ControlFlow::Break(end));
                    }
                }
            }
            if self.outlet.is_full() {
                self.flush().await?;
            }
        }
        Ok(match end {
            None => ControlFlow::Continue(()),
            Some(RequestError::Regular) => ControlFlow::Break(self.last_line(frames)),
            Some(end) => ControlFlow::Break(end),
        })
    }

    /// A server ends every line. If the last one has no end, it may be cut.
    fn last_line(&mut self, frames: &mut LineSplitter) -> RequestError {
        match frames.rest().map(|rest| self.line(rest)) {
            None | Some(ControlFlow::Continue(())) => RequestError::Regular,
            Some(ControlFlow::Break(RequestError::InvalidJson)) => {
                RequestError::Cut("within a line".to_owned())
            }
            Some(ControlFlow::Break(end)) => end,
        }
    }

    fn line(&mut self, line: &[u8]) -> ControlFlow<RequestError> {
        let Self {
            shared,
            machine,
            texts,
            decoding,
            outlet,
            turn,
            dropped,
            ..
        } = self;
        outlet.keep(decoding);
        let line = decode_line::<K>(line, decoding, texts, dropped);
        let seen = line.unusable().cloned();
        let flow = machine.line(line, |event| emit(event, outlet, turn, &shared.counters));
        if let Some(seen) = seen {
            outlet.see(seen);
        }
        flow
    }

    // === pages ===

    /// A page that was requested alongside a stream. `true` if it takes the stream's place.
    async fn page_alongside(&mut self, text: Vec<u8>) -> Result<bool, Gone> {
        let mut objects = 0;
        self.outlet.keep(&mut self.decoding);
        let decoding = &self.decoding;
        let mut texts = Interner::new(self.shared.options.seed);
        let page = decode_page::<K>(&text, decoding, &mut texts, |_| objects += 1);
        let usable = page.is_ok_and(|page| objects > 0 || page.unusable.is_empty());
        if !usable || !self.machine.alongside_came(objects) {
            return Ok(false);
        }
        let mut objects = Vec::new();
        let read = decode_page::<K>(&text, &self.decoding, &mut self.texts, |one| {
            objects.push(one);
        });
        drop(text);
        if let Some(end) = self.take_page(read.map_err(end_of_page), objects).await? {
            self.over(end, Sort::Page);
        }
        Ok(true)
    }

    async fn page(&mut self, body: Body) -> Result<Option<RequestError>, Gone> {
        let mut objects = Vec::new();
        let read = self.read_page(body, |object| objects.push(object)).await;
        self.take_page(read, objects).await
    }

    /// Hands on what a page says.
    async fn take_page(
        &mut self,
        read: Result<PageEnd, RequestError>,
        objects: Vec<K::Object>,
    ) -> Result<Option<RequestError>, Gone> {
        self.outlet.reads(now());
        let Self {
            shared,
            machine,
            outlet,
            turn,
            dropped,
            ..
        } = self;
        let taken = match read {
            Ok(page) => {
                dropped.add(page.dropped);
                let next = page.continue_token.as_deref();
                let mut seen = page.unusable.into_iter();
                let taken = machine.page(objects, &page.version, next, |event| {
                    if let Event::InitDone = event {
                        seen.by_ref().for_each(|uid| outlet.see(uid));
                    }
                    emit(event, outlet, turn, &shared.counters);
                });
                if taken.is_ok() {
                    seen.for_each(|uid| outlet.see(uid));
                }
                taken
            }
            Err(end) => Err(end),
        };
        self.flush().await?;
        Ok(taken.err())
    }

    async fn version(&mut self, body: Body) -> Result<(), RequestError> {
        let page = self.read_page(body, |_| ()).await?;
        self.machine.checked(&page.version)
    }

    /// Reads a page while it arrives.
    async fn read_page(
        &mut self,
        body: Body,
        mut each: impl FnMut(K::Object),
    ) -> Result<PageEnd, RequestError> {
        self.outlet.keep(&mut self.decoding);
        let (mut texts, decoding) = (self.texts.clone(), self.decoding.clone());
        let (decoding, most) = (&decoding, self.shared.options.max_page);
        let mut page = PageReader::default();
        let take = |chunk: &[u8]| page.push::<K>(chunk, decoding, &mut texts, &mut each);
        match self.read(body, most, take).await {
            Part::End(RequestError::Regular) => {
                let page = page.end::<K>(decoding, &mut texts, each);
                page.map_err(end_of_page)
            }
            Part::End(end) => Err(end),
            Part::Data(_) => Err(RequestError::TooLarge(most)),
        }
    }

    /// Reads until the end, or until it would be more than `most` bytes.
    async fn read(&mut self, mut body: Body, most: usize, mut take: impl FnMut(&[u8])) -> Part {
        let mut length = 0;
        loop {
            self.machine.reading(now());
            match in_time(&mut self.machine, body.frame()).await.map(Part::of) {
                Ok(Part::Data(data)) if length + data.len() <= most => {
                    self.heard();
                    length += data.len();
                    take(&data);
                }
                Ok(part) => return part,
                Err(end) => return Part::End(end),
            }
        }
    }

    async fn refused(&mut self, answer: Response<Body>) -> RequestError {
        let code = answer.status().as_u16();
        let wanted = wanted_pause(answer.headers());
        let encoding = encoding(answer.headers());
        let mut text = Vec::new();
        // Whatever came of it will do: the status line says no already.
        let take = |chunk: &[u8]| text.extend_from_slice(chunk);
        let _ = self.read(answer.into_body(), MAX_REFUSAL, take).await;
        if let Some(encoding) = encoding {
            text = format!("Content-Encoding: {encoding}").into_bytes();
        }
        RequestError::Refused(Refusal::of_answer(code, wanted, &text))
    }

    // === sending ===

    fn over(&mut self, end: RequestError, sort: Sort) {
        let at = Moment {
            now: now(),
            jitter: fastrand::f64(),
        };
        // What a probe says is advice.
        let counts =
            !matches!(sort, Sort::Version) || matches!(end, RequestError::VersionRegressed { .. });
        if counts {
            let kind = self.resource.kind;
            self.shared.counters.count_end(kind, end.reason());
        }
        if counts && !matches!(end, RequestError::Regular) {
            self.shared.counters.failures.fetch_add(1, Relaxed);
            self.last_failure = Some(WatchFailure {
                reason: end.reason(),
                text: end.to_string(),
                at: at.now,
            });
        }
        self.turn.ended();
        self.machine.over(end, at);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.count_dropped();
        while let Some(batch) = self.outlet.flush(now) {
            self.shared.send(batch).await?;
        }
        Ok(())
    }
}

impl Shared {
    async fn send(&self, input: WatchMessage) -> Result<(), Gone> {
        self.inputs.send(input).await.map_err(|_| Gone)
    }
}

fn emit<T: Stored>(event: Event<T>, outlet: &mut Outlet<T>, turn: &mut Turn, counters: &Counters) {
    if let Event::InitDone = event {
        counters.lists.fetch_add(1, Relaxed);
        turn.listed();
    }
    outlet.take(event);
}

async fn page_of(alongside: &mut Option<Alongside>) -> Result<Vec<u8>, RequestError> {
    match alongside {
        Some(page) => page.await,
        None => pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "where time enters the watches")]
pub(super) fn now() -> Instant {
    time::Instant::now().into_std()
}
