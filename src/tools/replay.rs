//! `k8s-relay replay`: plays recorded streams to a relay.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read as _, Write},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Code;

use super::{ToolError, ask::shows_progress, decode, wrote};
use crate::{
    config::HostPort,
    sim::watcher::{Call, Message, Watcher},
    tee::recording::{Fault, Reader, Record, RecordingError, What},
};

/// Play recorded watcher streams (tee --record) to a relay
///
/// Each stream is opened, sent and ended at its time, over a connection of its own, in the order
/// of the recording: a stream that the relay holds back holds back the others, too. A stream that
/// the watcher half-closed is half-closed. One that it cancelled is cancelled, but half-closed
/// with --speed max, so that nothing is lost in flight. One that the relay ended is half-closed,
/// unless this relay has ended it already.
///
/// A recording that is cut or altered is played up to that place, which an error then names. The
/// exit status is 0 if the recording is whole and the relay took every message.
///
/// Examples:
///   As fast as the relay takes it:
///     k8s-relay replay streams.rec --to 127.0.0.1:8712 --speed max
///   An hour in six minutes:
///     k8s-relay replay streams.rec --to 127.0.0.1:8712 --speed 10
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct ReplayArgs {
    /// The recording
    pub file: PathBuf,

    /// The relay's Collect address
    #[arg(long, value_name = "HOST:PORT")]
    pub to: HostPort,

    /// Times the recorded speed, or `max`
    #[arg(long, value_name = "N|max", default_value = "1")]
    pub speed: Speed,
}

/// The pace of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded.
    Times(f64),
    /// Without waiting.
    Max,
}

/// What is said of a file that a relay has recorded.
const OF_MESSAGES: &str = "this is a recording of messages (--record-intake-output), not of \
                           streams. Use `k8s-relay decode` with it.";

/// How long the relay may take to end all streams when everything was sent.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where no terminal is: a line so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
const READ: usize = 64 << 10;

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if (0.001..=1e6).contains(&times) => Ok(Self::Times(times)),
            Ok(_) => Err("not between 0.001 and 1000000"),
            Err(_) => Err("neither a number nor `max`"),
        }
    }
}

impl Speed {
    /// When something is due that was recorded at this time, from the start of the replay.
    pub fn due(self, at: Duration) -> Duration {
        match self {
            Self::Times(times) => {
                Duration::try_from_secs_f64(at.as_secs_f64() / times).unwrap_or(Duration::MAX)
            }
            Self::Max => Duration::ZERO,
        }
    }
}

/// Plays the file; shows its progress on standard error and the numbers on standard output.
///
/// # Errors
/// The file cannot be read or is cut or altered; the relay is not there, or has not taken
/// everything.
pub async fn run(args: &ReplayArgs) -> Result<(), ToolError> {
    let progress = Progress::new(shows_progress());
    play(args, io::stdout(), progress, PATIENCE).await
}

/// Plays the file and writes the numbers to `out`. After the last message the relay has `patience`
/// to end the streams.
///
/// # Errors
/// As [`run`].
pub async fn play(
    args: &ReplayArgs,
    mut out: impl Write,
    mut progress: Progress,
    patience: Duration,
) -> Result<(), ToolError> {
    let name = args.file.display().to_string();
    let mut file = super::open(&args.file)?;
    progress.begin(file.metadata().map_or(0, |file| file.len()));
    let mut player = Player::new(args);
    let played = player.all(&name, &mut file, &mut progress).await;
    player.finish(patience).await;
    progress.end(player.numbers.messages);
    if player.numbers.streams == 0 {
        // There is nothing to say but why.
        played?;
        return wrote(writeln!(out, "{}", player.numbers).and_then(|()| out.flush())).map(drop);
    }
    wrote(writeln!(out, "{}", player.numbers).and_then(|()| out.flush()))?;
    played?;
    player.numbers.result()
}

struct Player<'a> {
    args: &'a ReplayArgs,
    start: Instant,
    /// Streams to which more may come.
    open: BTreeMap<u64, Playing>,
    /// Streams to which nothing more will come.
    ending: Vec<Call>,
    numbers: Numbers,
}

struct Playing {
    call: Call,
    /// Messages that came too late, because the relay has ended the stream.
    unsent: u64,
}

/// What was played.
#[derive(Debug, Default)]
struct Numbers {
    streams: u64,
    messages: u64,
    bytes: u64,
    took: Duration,
    recorded: Duration,
    cut_short: u64,
    unsent: u64,
    ends: BTreeMap<String, u64>,
    endless: usize,
}

impl<'a> Player<'a> {
    fn new(args: &'a ReplayArgs) -> Self {
        Self {
            args,
            start: now(),
            open: BTreeMap::new(),
            ending: Vec::new(),
            numbers: Numbers::default(),
        }
    }

    /// Plays everything that can be read.
    async fn all(
        &mut self,
        name: &str,
        file: &mut File,
        progress: &mut Progress,
    ) -> Result<(), ToolError> {
        let mut reader = Reader::new();
        let mut buffer = vec![0; READ];
        let mut head = Vec::new();
        let malformed = |error: RecordingError, head: &[u8]| ToolError::Malformed {
            file: name.to_owned(),
            problem: match (error.fault, decode::is_decodable(head)) {
                (Fault::Foreign, true) => OF_MESSAGES.to_owned(),
                (_, _) => error.to_string(),
            },
        };
        loop {
            let len = match file.read(&mut buffer) {
                Ok(0) => return reader.finish().map_err(|error| malformed(error, &head)),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let file = name.to_owned();
                    return Err(ToolError::Read { file, source });
                }
            };
            let read = buffer.get(..len).unwrap_or_default();
            if head.is_empty() {
                head.extend_from_slice(read);
            }
            reader.push(read);
            while let Some(record) = reader
                .next_record()
                .map_err(|error| malformed(error, &head))?
            {
                self.record(record).await?;
                progress.at(reader.position(), self.numbers.messages);
            }
        }
    }

    async fn record(&mut self, record: Record) -> Result<(), ToolError> {
        let Record { at, stream, what } = record;
        self.numbers.recorded = at;
        if let Speed::Times(_) = self.args.speed
            && let Some(due) = self.start.checked_add(self.args.speed.due(at))
        {
            sleep_until(due).await;
        }
        match what {
            What::Opened => {
                let watcher = Watcher::connect(&self.args.to.to_string()).await?;
                let call = watcher.open();
                self.open.insert(stream, Playing { call, unsent: 0 });
                self.numbers.streams += 1;
            }
            What::Message(bytes) => {
                if let Some(playing) = self.open.get_mut(&stream) {
                    let len = bytes.len() as u64;
                    if playing.call.send(Message::Raw(bytes)).await.is_ok() {
                        self.numbers.messages += 1;
                        self.numbers.bytes += len;
                    } else {
                        playing.unsent += 1;
                    }
                }
            }
            What::HalfClosed => {
                if let Some(playing) = self.open.get_mut(&stream) {
                    playing.call.half_close();
                }
            }
            What::Cancelled if self.args.speed != Speed::Max => {
                if let Some(mut playing) = self.open.remove(&stream) {
                    playing.call.cancel();
                    self.end(playing);
                }
            }
            What::Cancelled | What::Ended(_) => {
                if let Some(playing) = self.open.remove(&stream) {
                    self.end(playing);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, mut playing: Playing) {
        playing.call.half_close();
        self.numbers.cut_short += u64::from(playing.unsent > 0);
        self.numbers.unsent += playing.unsent;
        self.ending.push(playing.call);
    }

    /// Ends what is open, and waits for what the relay says to it.
    async fn finish(&mut self, patience: Duration) {
        while let Some((_, playing)) = self.open.pop_first() {
            self.end(playing);
        }
        let deadline = now() + patience;
        for mut call in self.ending.drain(..) {
            let left = deadline.saturating_duration_since(now());
            match timeout(left, call.ended()).await {
                Ok(outcome) => {
                    let status = format!("{:?}", outcome.status);
                    *self.numbers.ends.entry(status).or_default() += 1;
                    if outcome.status == Code::Unavailable {
                        self.numbers.cut_short += 1;
                    }
                }
                Err(_) => self.numbers.endless += 1,
            }
        }
        self.numbers.took = now().saturating_duration_since(self.start);
    }
}

impl Numbers {
    fn result(&self) -> Result<(), ToolError> {
        let wrong = match (self.cut_short, self.endless) {
            (0, 0) => return Ok(()),
            (0, endless) => format!("the relay did not end {endless} streams"),
            (cut, _) => format!(
                "{cut} streams were ended by the relay before their time, {} messages were not sent",
                self.unsent
            ),
        };
        Err(ToolError::Different(wrong))
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            streams,
            messages,
            bytes,
            took,
            recorded,
            ..
        } = self;
        write!(
            f,
            "played {streams} streams, {messages} messages, {bytes} bytes in {took:.3?}, recorded over {recorded:.3?}; ends:"
        )?;
        for (status, count) in &self.ends {
            write!(f, " {status} {count}")?;
        }
        if self.ends.is_empty() {
            f.write_str(" none")?;
        }
        Ok(())
    }
}

/// Shows how far a replay is, on standard error.
#[derive(Debug)]
pub enum Progress {
    /// For a terminal.
    Bar(ProgressBar),
    /// For a log.
    Lines {
        /// Bytes of the file.
        total: u64,
        /// When the next line is due.
        next: Instant,
    },
    /// For nobody.
    Off,
}

impl Progress {
    /// A bar for a terminal, lines otherwise.
    pub fn new(terminal: bool) -> Self {
        if terminal {
            Self::Bar(ProgressBar::new(0))
        } else {
            let next = now() + LINE_EVERY;
            Self::Lines { total: 0, next }
        }
    }

    fn begin(&mut self, bytes: u64) {
        match self {
            Self::Bar(bar) => {
                let style = "{wide_bar} {percent} %, elapsed {elapsed}, ETA {eta}, {msg}";
                // It is as good as its template, which stands here.
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style);
                }
                bar.set_length(bytes);
            }
            Self::Lines { total, .. } => *total = bytes,
            Self::Off => {}
        }
    }

    fn at(&mut self, bytes: u64, messages: u64) {
        match self {
            Self::Bar(bar) => {
                // Drawn some times a second, whatever is said here.
                bar.set_position(bytes);
                if messages.is_multiple_of(256) {
                    bar.set_message(format!("{messages} messages"));
                }
            }
            Self::Lines { total, next } => {
                if messages.is_multiple_of(64) && now() >= *next {
                    *next = now() + LINE_EVERY;
                    let percent = bytes * 100 / (*total).max(1);
                    // Without standard error there is nobody to inform.
                    let _ = writeln!(io::stderr(), "{percent} %, {messages} messages");
                }
            }
            Self::Off => {}
        }
    }

    /// It stays where the replay has ended, with all that was played.
    fn end(&self, messages: u64) {
        if let Self::Bar(bar) = self {
            bar.set_message(format!("{messages} messages"));
            bar.abandon();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a tool reads the clock")]
fn now() -> Instant {
    Instant::now()
}
