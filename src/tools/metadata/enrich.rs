//! `k8s-relay enrich`: events in, enriched events out. The bridge for whatever can start a program.
//!
//! Invariants: as many lines go out as events came in, in their order. What waits in memory is a
//! few chunks of input and one of output, however long the input is: a reader that is slow holds
//! back the relay, and that the input.

use std::{
    borrow::Cow,
    convert::Infallible,
    io::{self, IsTerminal as _, Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{MetadataError, ServiceArgs, client, reference::encoded, refused};
use crate::{
    enrich::resource::Metricset,
    tools::ask::{counted, harmless, shows_progress},
};

/// Add metadata to events: a line of JSON each, from standard input to standard output
///
/// A running relay with --enrich-address answers. Each event comes out again in its place, with
/// what is known of its pod, container, node or other object merged in; where nothing is known, it
/// comes out unchanged. A line that is not an event is left out and counted.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct EnrichArgs {
    /// What the events are about
    #[arg(value_parser = metricset())]
    pub metricset: Metricset,

    /// Which relay, and by which profile.
    #[command(flatten)]
    pub service: ServiceArgs,

    /// Print the whole answers: the state, what is missing, and the event
    #[arg(long)]
    pub results: bool,

    /// Wait up to this many milliseconds for an object that is not known yet; up to 5000
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(..=5000))]
    pub wait_ms: Option<u32>,
}

const EXAMPLES: &str = "\
Examples:
  k8s-relay enrich pod < events.ndjson > enriched.ndjson
  k8s-relay enrich state_container --profile logs --results < events.ndjson
  tail -F metrics.ndjson | k8s-relay enrich container --address unix:/run/k8s-relay/enrich.sock

Exit status: 0 when every line was an event; 1 when some were not, which standard error counts;
2 for a wrong command line; 3 when no relay answers, or it ends before the last answer.";

/// Bytes that are read of the input at once.
const CHUNK: usize = 64 << 10;
/// Chunks that wait for the relay.
const WAITING: usize = 4;
/// The longest line of an answer: an event and a document, both at their limits, have less.
const MAX_LINE: usize = 16 << 20;
/// The longest answer that says no.
const MAX_REFUSAL: usize = 64 << 10;

/// An answer, as far as it is read.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    error: Option<String>,
    line: Option<u64>,
}

/// Enriches standard input.
///
/// # Errors
/// No relay answers, or some lines are not events.
pub async fn run(args: &EnrichArgs) -> Result<(), MetadataError> {
    let place = &args.service.address;
    let no_answer = |problem: String| MetadataError::NoAnswer {
        place: place.clone(),
        problem,
    };
    let input = Input::open();
    let read = Arc::clone(&input.read);
    let mut progress = Progress::new(&input);
    let (body, reading) = input.body();
    let content_type = Some("application/x-ndjson");
    let answer = client::ask(&args.service, Method::POST, &path(args), content_type, body).await?;
    let code = answer.response.status();
    if code != StatusCode::OK {
        let body = Limited::new(answer.response.into_body(), MAX_REFUSAL)
            .collect()
            .await;
        let body = body.map_err(|error| no_answer(error.to_string()))?;
        return Err(refused(code, &body.to_bytes(), place));
    }
    let mut answers = answer.response.into_body();
    let mut output = Output::new(args.results);
    while let Some(frame) = answers.frame().await {
        let frame = frame.map_err(|error| {
            let answered = counted(output.lines, "answer");
            no_answer(format!("it ended after {answered}: {error}"))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        output.take(&data).map_err(&no_answer)?;
        match output.write() {
            // Who closes the pipe has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(MetadataError::Write)?,
        }
        progress.at(read.load(Relaxed), output.lines);
    }
    progress.end();
    if !output.rest.is_empty() {
        return Err(no_answer("it ended within an answer".to_owned()));
    }
    // Whoever reads has ended, or the relay would not have.
    if let Ok(Err(error)) = reading.await {
        return Err(MetadataError::Read(error));
    }
    output.ending()
}

fn path(args: &EnrichArgs) -> String {
    let mut path = format!("/v1/enrich/{}?output=result", args.metricset);
    if let Some(profile) = &args.service.profile {
        path += &format!("&profile={}", encoded(profile));
    }
    if let Some(wait) = args.wait_ms {
        path += &format!("&wait_ms={wait}");
    }
    path
}

fn metricset() -> impl clap::builder::TypedValueParser<Value = Metricset> {
    PossibleValuesParser::new(Metricset::ALL.map(Metricset::name))
        .try_map(|name| Metricset::from_name(&name).ok_or("this is not a metricset"))
}

/// Standard input on its way to the relay.
struct Input {
    /// Its length in bytes, if it is a file.
    length: Option<u64>,
    /// Bytes that were read so far.
    read: Arc<AtomicU64>,
}

impl Input {
    fn open() -> Self {
        let file = std::fs::metadata("/dev/stdin")
            .ok()
            .filter(|file| file.is_file());
        Self {
            length: file.map(|file| file.len()),
            read: Arc::default(),
        }
    }

    /// A body of it, and how the reading ends.
    fn body(
        self,
    ) -> (
        impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
        tokio::task::JoinHandle<io::Result<()>>,
    ) {
        let (chunks, waiting) = mpsc::channel::<Bytes>(WAITING);
        let read = self.read;
        // Nothing ends a read that waits for a terminal or a pipe; the end of the process does.
        let reading = tokio::task::spawn_blocking(move || {
            let mut input = io::stdin().lock();
            let mut chunk = vec![0; CHUNK];
            loop {
                let length = match input.read(&mut chunk) {
                    Ok(0) => return Ok(()),
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                read.fetch_add(length as u64, Relaxed);
                let data = Bytes::copy_from_slice(chunk.get(..length).unwrap_or_default());
                if chunks.blocking_send(data).is_err() {
                    // The relay has hung up, which its answer says.
                    return Ok(());
                }
            }
        });
        let frames = ReceiverStream::new(waiting).map(|data| Ok(Frame::data(data)));
        (StreamBody::new(frames), reading)
    }
}

/// Answers on their way to standard output.
struct Output {
    results: bool,
    /// Of an answer that has not come whole.
    rest: Vec<u8>,
    /// To be written.
    ready: Vec<u8>,
    lines: u64,
    invalid: u64,
    /// What is wrong with the first line that is not an event.
    first: Option<String>,
}

impl Output {
    fn new(results: bool) -> Self {
        Self {
            results,
            rest: Vec::new(),
            ready: Vec::new(),
            lines: 0,
            invalid: 0,
            first: None,
        }
    }

    /// Takes what has come, whole lines of it or not.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn take(&mut self, mut data: &[u8]) -> Result<(), String> {
        while let Some(end) = memchr::memchr(b'\n', data) {
            let (line, behind) = data.split_at(end);
            data = behind.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                self.line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole)?;
                whole.clear();
                self.rest = whole;
            }
        }
        self.rest.extend_from_slice(data);
        match self.rest.len() > MAX_LINE {
            true => Err("an answer is too long".to_owned()),
            false => Ok(()),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let row: Row<'_> = serde_json::from_slice(line)
            .map_err(|error| format!("an answer is not a result: {error}"))?;
        self.lines += 1;
        if row.state == "INVALID" {
            self.invalid += 1;
            let (number, lines) = (row.line.unwrap_or(self.lines), row.error.as_deref());
            let why = harmless(lines.unwrap_or("not an event"));
            self.first
                .get_or_insert_with(|| format!("; line {number}: {why}"));
        }
        let shown = match (self.results, row.event) {
            (true, _) => Some(line),
            (false, event) => event.map(|event| event.get().as_bytes()),
        };
        if let Some(shown) = shown {
            self.ready.extend_from_slice(shown);
            self.ready.push(b'\n');
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = out.write_all(&self.ready).and_then(|()| out.flush());
        self.ready.clear();
        written
    }

    fn ending(self) -> Result<(), MetadataError> {
        match self.invalid {
            0 => Ok(()),
            invalid => Err(MetadataError::Invalid {
                invalid,
                lines: self.lines,
                first: self.first.unwrap_or_default(),
            }),
        }
    }
}

/// How far it is, on a terminal that nothing else is written to.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(input: &Input) -> Self {
        if !shows_progress() || io::stdout().is_terminal() {
            return Self(None);
        }
        let (bar, style) = match input.length {
            Some(length) => (
                ProgressBar::new(length),
                "{wide_bar} {percent} %, {msg}, elapsed {elapsed}, ETA {eta}",
            ),
            None => (
                ProgressBar::no_length(),
                "{spinner} {msg}, elapsed {elapsed}",
            ),
        };
        // It is as good as its template, which stands here.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    fn at(&mut self, bytes: u64, events: u64) {
        if let Some(bar) = &self.0 {
            // Drawn some times a second, whatever is said here.
            bar.set_position(bytes);
            bar.set_message(counted(events, "event"));
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANSWERS: &str = concat!(
        r#"{"state":"LIVE","event":{"name":"web-1","cpu":1.10},"uid":"u"}"#,
        "\n",
        r#"{"state":"INVALID","error":"not an object\u001b","line":3}"#,
        "\n",
        r#"{"state":"MISSING","event":{"name":"web-2","mem":1e400}}"#,
        "\n",
        r#"{"state":"INVALID","error":"too long","line":9}"#,
        "\n",
    );

    #[test]
    fn events_come_out_byte_for_byte_however_the_answers_are_cut() {
        for size in 1..ANSWERS.len() {
            let mut output = Output::new(false);
            for chunk in ANSWERS.as_bytes().chunks(size) {
                output.take(chunk).unwrap();
            }
            assert!(output.rest.is_empty());
            assert_eq!(
                str::from_utf8(&output.ready).unwrap(),
                "{\"name\":\"web-1\",\"cpu\":1.10}\n{\"name\":\"web-2\",\"mem\":1e400}\n"
            );
            let error = output.ending().unwrap_err();
            assert_eq!(error.status(), 1);
            assert_eq!(
                error.to_string(),
                "2 of 4 lines are not events; line 3: not an object\\u{1b}"
            );
        }
    }

    #[test]
    fn results_come_out_as_they_are() {
        let mut output = Output::new(true);
        output.take(ANSWERS.as_bytes()).unwrap();
        assert_eq!(str::from_utf8(&output.ready).unwrap(), ANSWERS);
    }

    #[test]
    fn what_is_no_answer_and_what_never_ends_is_refused() {
        let mut output = Output::new(false);
        let error = output.take(b"<html>\n").unwrap_err();
        assert!(error.starts_with("an answer is not a result: "), "{error}");
        let mut output = Output::new(false);
        let endless = vec![b' '; MAX_LINE + 1];
        assert_eq!(output.take(&endless).unwrap_err(), "an answer is too long");
    }
}
