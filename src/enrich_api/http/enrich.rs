//! `POST /v1/enrich/{metricset}`: events in, events or results out.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::value::RawValue;
use tonic::Status;

use super::{
    Refusal,
    body::{self, Content},
    params::Params,
};
use crate::{
    enrich::{
        ProfileId,
        answer::{Answer, Content as Said, State as Known},
        resource::Metricset,
        service::{InEffect, Objects},
    },
    enrich_api::{
        Api,
        ask::{Questions, is_within_limits},
        counters::LimitHit,
        inflate::Inflater,
        lines::{Line, Lines},
        outbox::{Gone, Outbox, Pieces},
    },
    net::Place,
};

/// How many lines are answered together.
const LINES: usize = 64;

/// What a request wants.
#[derive(Clone, Debug)]
struct Wanted {
    metricset: Metricset,
    profile: String,
    wait_ms: u64,
    output: Output,
}

/// What stands in an answer for each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// The result, with the event.
    Result,
    /// The bare event.
    Event,
    /// The result, with what was said of the event's subject.
    Metadata,
}

/// `POST /v1/enrich/{metricset}`
pub(super) async fn enrich<O: Objects>(
    State(api): State<Arc<Api<O>>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Path(metricset) = path.map_err(Refusal::bad)?;
    let wanted = Wanted::read(&metricset, query.as_deref())?;
    let profiles = api.profiles();
    let profile = profiles.find(&wanted.profile);
    let profile = profile.ok_or_else(|| Refusal::no_profile(&wanted.profile))?;
    let content = body::content(&headers)?;
    let inflater = body::inflater(&headers)?;
    let place = api.streams.take().ok_or_else(Refusal::too_many_streams)?;
    match content {
        Content::Lines => {
            let reader = Reader::new(body, inflater, api.limits.event_bytes);
            let (outbox, pieces) = Outbox::new(api.limits.stall);
            let stream = LineStream {
                api: api.clone(),
                wanted,
                profiles: (profiles, profile),
                outbox,
                _place: place,
            };
            let kill = api.tasks.kill.clone();
            api.tasks.tracker.spawn(async move {
                kill.run_until_cancelled_owned(stream.run(reader)).await;
            });
            Ok(streamed("application/x-ndjson", pieces))
        }
        Content::Json => {
            let text = body::whole(body, inflater, &api.limits, &api.counters).await?;
            let events = array(&text, &api)?;
            let questions = Questions::Events {
                metricset: wanted.metricset,
                profile,
                events,
            };
            let wait = api.wait_of(wanted.wait_ms);
            api.wait(&profiles, &questions, wait).await?;
            let answer = ArrayAnswer {
                api: api.clone(),
                profiles,
                questions,
                around: ["[", "]"],
                write: move |event: Option<&Bytes>,
                             answer: &Answer,
                             text: &str,
                             into: &mut Vec<u8>| {
                    wanted.output.write(event, answer, text, None, into)
                },
                place,
            };
            Ok(answer.stream())
        }
    }
}

impl Wanted {
    fn read(metricset: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let unknown = || {
            let error = format!("`{metricset}` is not a metricset that is known here");
            Refusal::new(StatusCode::NOT_FOUND, error)
        };
        let metricset = Metricset::from_name(metricset).ok_or_else(unknown)?;
        let mut params = Params::parse(query)?;
        let wanted = Self {
            metricset,
            profile: params.take("profile"),
            wait_ms: params.take_number("wait_ms")?,
            output: match params.take("output").as_str() {
                "" | "result" => Output::Result,
                "event" => Output::Event,
                "metadata" => Output::Metadata,
                other => {
                    let error = format!("`output` takes result, event or metadata, not `{other}`");
                    return Err(Refusal::bad(error));
                }
            },
        };
        params.finish()?;
        Ok(wanted)
    }
}

impl Output {
    /// Appends what stands for an event. Returns whether that is anything.
    fn write(
        self,
        event: Option<&Bytes>,
        answer: &Answer,
        merged: &str,
        line: Option<u64>,
        into: &mut Vec<u8>,
    ) -> bool {
        let mut text = String::new();
        match (self, answer.state) {
            (Self::Event, Known::Invalid) => match event.filter(|event| is_within_limits(event)) {
                Some(event) => into.extend_from_slice(event),
                None => return false,
            },
            (Self::Event, _) => match (event, &answer.document) {
                // Byte for byte, with what stands around it.
                (Some(event), None) => into.extend_from_slice(event),
                _ => into.extend_from_slice(merged.as_bytes()),
            },
            (_, Known::Invalid) => {
                answer.write_json(Said::Line(line), &mut text);
                into.extend_from_slice(text.as_bytes());
            }
            (Self::Result, _) => {
                answer.write_json(Said::Event(merged), &mut text);
                into.extend_from_slice(text.as_bytes());
            }
            (Self::Metadata, _) => {
                answer.write_json(Said::Metadata, &mut text);
                into.extend_from_slice(text.as_bytes());
            }
        }
        true
    }
}

/// The events of an array, each as it stands there.
fn array<O>(text: &Bytes, api: &Api<O>) -> Result<Vec<Option<Bytes>>, Refusal> {
    let bare = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let events: Vec<&RawValue> = serde_json::from_slice(bare)
        .map_err(|error| Refusal::bad(format!("the body is not a JSON array: {error}")))?;
    let most = api.limits.batch_items;
    if events.len() > most {
        api.counters.hit(LimitHit::Batch);
        let error = format!("the array has more than {most} events");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let kept = |event: &&RawValue| {
        let event = event.get().as_bytes();
        (event.len() <= api.limits.event_bytes).then(|| text.slice_ref(event))
    };
    Ok(events.iter().map(kept).collect())
}

/// An answer whose body comes in pieces.
fn streamed(content_type: &'static str, pieces: Pieces<Bytes>) -> Response {
    let frames = pieces.map(|piece| piece.map(http_body::Frame::data));
    let body = Body::new(StreamBody::new(frames));
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

/// The answers to a batch, as one JSON document.
pub(super) struct ArrayAnswer<O, W> {
    pub(super) api: Arc<Api<O>>,
    pub(super) profiles: Arc<InEffect>,
    pub(super) questions: Questions,
    /// What stands before the first and behind the last one.
    pub(super) around: [&'static str; 2],
    /// Appends what stands for a question; returns whether that is anything.
    pub(super) write: W,
    /// Held until all is sent.
    pub(super) place: Place,
}

impl<O: Objects, W> ArrayAnswer<O, W>
where
    W: Fn(Option<&Bytes>, &Answer, &str, &mut Vec<u8>) -> bool + Send + Sync + 'static,
{
    /// The response, whose body is written while it is taken.
    pub(super) fn stream(self) -> Response {
        let (outbox, pieces) = Outbox::new(self.api.limits.stall);
        let tasks = self.api.tasks.clone();
        tasks.tracker.spawn(async move {
            // Nothing is left to be done for a client that has gone.
            let _ = tasks.kill.run_until_cancelled(self.send(outbox)).await;
        });
        streamed("application/json", pieces)
    }

    async fn send(self, outbox: Outbox<Bytes>) -> Result<(), Gone> {
        let (api, [before, behind]) = (&self.api, self.around);
        let mut text = before.as_bytes().to_vec();
        let mut left = 0..self.questions.len();
        let mut is_first = true;
        while !left.is_empty() {
            left = api.answer_slice(
                &self.profiles,
                &self.questions,
                left,
                |at, answer, merged| {
                    let begin = text.len();
                    if !is_first {
                        text.push(b',');
                    }
                    let event = self.questions.event(at);
                    match (self.write)(event, answer, merged, &mut text) {
                        true => is_first = false,
                        false => text.truncate(begin),
                    }
                },
            );
            outbox
                .send(std::mem::take(&mut text).into(), &api.counters)
                .await?;
        }
        text.extend_from_slice(behind.as_bytes());
        outbox.send(text.into(), &api.counters).await?;
        drop(self.place);
        Ok(())
    }
}

/// A request of lines that is being answered.
struct LineStream<O> {
    api: Arc<Api<O>>,
    wanted: Wanted,
    /// Those that were in effect when the last batch was read.
    profiles: (Arc<InEffect>, ProfileId),
    outbox: Outbox<Bytes>,
    /// Held until all is answered.
    _place: Place,
}

/// Lines that are answered together.
struct Batch {
    profiles: Arc<InEffect>,
    questions: Questions,
    numbers: Vec<u64>,
}

impl<O: Objects> LineStream<O> {
    async fn run(mut self, mut reader: Reader) {
        let api = self.api.clone();
        let mut batches = FuturesOrdered::new();
        let mut is_full = false;
        loop {
            let is_open = !reader.is_done() && !api.shutdown.is_cancelled();
            if !is_open && batches.is_empty() {
                break;
            }
            let may_read = is_open && batches.len() < api.limits.unanswered;
            if is_open && !may_read && !std::mem::replace(&mut is_full, true) {
                api.counters.hit(LimitHit::Unanswered);
            }
            is_full &= !may_read;
            tokio::select! {
                biased;
                () = self.outbox.gone() => return,
                Some(batch) = batches.next() => {
                    if self.answer(batch).await.is_err() {
                        return;
                    }
                }
                lines = reader.next(), if may_read => {
                    if lines.is_empty() {
                        continue;
                    }
                    let batch = self.batch(lines);
                    let (api, wait) = (api.clone(), api.wait_of(self.wanted.wait_ms));
                    batches.push_back(async move {
                        // Without a place to wait the answer says what is known now.
                        let _ = api.wait(&batch.profiles, &batch.questions, wait).await;
                        batch
                    });
                }
                () = api.shutdown.cancelled(), if is_open => {}
            }
        }
        match reader.problem.take() {
            // The rest of the request is not read.
            None if !reader.is_done() => {
                self.outbox
                    .fail(Status::unavailable("the relay ends"))
                    .await;
            }
            None => {}
            Some(problem) => {
                let mut text = String::new();
                let line = Some(reader.lines.number());
                Answer::invalid(problem).write_json(Said::Line(line), &mut text);
                text.push('\n');
                let _ = self.outbox.send(text.into(), &api.counters).await;
            }
        }
    }

    fn batch(&mut self, lines: Vec<Line>) -> Batch {
        let profiles = self.api.profiles();
        // A profile that is not there any more serves its streams to their end.
        if let Some(profile) = profiles.find(&self.wanted.profile) {
            self.profiles = (profiles, profile);
        }
        let (profiles, profile) = self.profiles.clone();
        let (numbers, events) = lines
            .into_iter()
            .map(|line| (line.number, line.text))
            .unzip();
        Batch {
            profiles,
            numbers,
            questions: Questions::Events {
                metricset: self.wanted.metricset,
                profile,
                events,
            },
        }
    }

    async fn answer(&self, batch: Batch) -> Result<(), Gone> {
        let Batch {
            profiles,
            questions,
            numbers,
        } = batch;
        let (mut left, mut text) = (0..questions.len(), Vec::new());
        while !left.is_empty() {
            let write = |at: usize, answer: &Answer, merged: &str| {
                let (event, line) = (questions.event(at), numbers.get(at).copied());
                if self
                    .wanted
                    .output
                    .write(event, answer, merged, line, &mut text)
                {
                    text.push(b'\n');
                }
            };
            left = self.api.answer_slice(&profiles, &questions, left, write);
            if !text.is_empty() {
                let piece = std::mem::take(&mut text).into();
                self.outbox.send(piece, &self.api.counters).await?;
            }
        }
        Ok(())
    }
}

/// Reads the lines of a request.
struct Reader {
    body: Body,
    inflater: Inflater,
    /// What has come in and was not inflated yet.
    piece: Bytes,
    lines: Lines,
    found: VecDeque<Line>,
    has_ended: bool,
    /// Why it has ended before its time, if its client can still hear of it.
    problem: Option<String>,
}

impl Reader {
    fn new(body: Body, inflater: Inflater, event_bytes: usize) -> Self {
        Self {
            body,
            inflater,
            piece: Bytes::new(),
            lines: Lines::new(event_bytes),
            found: VecDeque::new(),
            has_ended: false,
            problem: None,
        }
    }

    /// The next lines; none if the request has ended. Nothing is lost if this is dropped.
    async fn next(&mut self) -> Vec<Line> {
        while self.found.is_empty() && !self.has_ended {
            let mut found = Vec::new();
            if self.piece.is_empty() {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                    Some(Err(_)) => self.has_ended = true,
                    None => {
                        self.has_ended = true;
                        match self.inflater.finish() {
                            Ok(rest) => {
                                self.lines.push(rest, &mut found);
                                self.lines.finish(&mut found);
                            }
                            Err(damaged) => self.problem = Some(damaged.to_string()),
                        }
                    }
                }
            } else {
                match self.inflater.take(&mut self.piece) {
                    Ok(some) => self.lines.push(some, &mut found),
                    Err(damaged) => {
                        self.has_ended = true;
                        self.problem = Some(damaged.to_string());
                    }
                }
            }
            self.found.extend(found);
        }
        let some = self.found.len().min(LINES);
        self.found.drain(..some).collect()
    }

    fn is_done(&self) -> bool {
        self.has_ended && self.found.is_empty()
    }
}
