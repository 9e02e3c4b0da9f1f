//! The bodies of answers: lists and watches, written while they are sent, and how they are cut.
//!
//! Invariant: nobody holds the lock of the cluster while bytes are written or sent.

use std::{collections::VecDeque, io, sync::Arc, time::Duration, vec};

use bytes::Bytes;
use futures_util::{Stream, stream};
use hyper::body::Frame;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    faults::Cut,
    query::{Begin, Options, Target, token},
    render::{Form, Place},
    server::Link,
    status::Status,
    store::{Change, Gone, Key, Stored},
    world::World,
};

/// About so many bytes are written at once.
const CHUNK: usize = 128 * 1024;

/// Objects that are written at most at once.
const BATCH: usize = 256;

/// What was sent before a cut has so long to leave.
const LEAVE: Duration = Duration::from_millis(10);

/// Where a body comes from.
pub(super) enum Source {
    Bytes(Bytes),
    List(List),
    Watch(Box<Watch>),
    /// One line that never ends.
    Endless,
    Nothing,
}

/// A body, and what happens to it.
pub(super) struct Body {
    pub(super) source: Source,
    pub(super) cut: Option<(usize, Cut)>,
    pub(super) link: Arc<Link>,
    pub(super) world: Arc<World>,
}

impl Body {
    /// The frames of the body.
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
        stream::unfold(self, |mut body| async move {
            let bytes = body.next().await?;
            Some((bytes.map(Frame::data), body))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some((0, cut)) = self.cut {
            return self.end(cut).await;
        }
        let (mut bytes, objects) = match self.source.next(&self.world).await {
            Some(next) => next,
            // A cut after the end cuts the end.
            None => return self.end(self.cut?.1).await,
        };
        if let Some((left, _)) = &mut self.cut {
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        self.world.book(|book| {
            book.body_bytes += bytes.len() as u64;
            book.objects += objects as u64;
        });
        Some(Ok(bytes))
    }

    async fn end(&mut self, cut: Cut) -> Option<io::Result<Bytes>> {
        if cut == Cut::Clean {
            return None;
        }
        sleep(LEAVE).await;
        match cut {
            Cut::Clean | Cut::Stall => {}
            Cut::Truncated => self.link.end(),
            Cut::Reset => self.link.reset(),
        }
        // The connection ends now, or nothing comes any more.
        std::future::pending().await
    }
}

impl Source {
    /// The next bytes, and how many objects they hold.
    async fn next(&mut self, world: &World) -> Option<(Bytes, usize)> {
        match self {
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                (!bytes.is_empty()).then_some((bytes, 0))
            }
            Self::List(list) => list.next(world),
            Self::Watch(watch) => watch.next(world).await,
            Self::Endless => {
                // As fast as somebody reads, but others may live too.
                tokio::task::yield_now().await;
                Some((Bytes::from(vec![b'x'; CHUNK]), 0))
            }
            Self::Nothing => None,
        }
    }
}

/// A list of objects.
pub(super) struct List {
    items: vec::IntoIter<Stored>,
    form: Form,
    head: String,
    tail: &'static str,
    first: bool,
}

impl List {
    /// A list of objects that are called so, at a version, that goes on after `last`.
    pub(super) fn new(
        (name, api_version): (&str, &str),
        form: Form,
        items: Vec<Stored>,
        version: u64,
        last: Option<&str>,
    ) -> Self {
        let go_on = last.map_or_else(String::new, |last| {
            format!(r#","continue":"{}""#, token(version, last))
        });
        // A list of metadata without items has `null`.
        let (open, tail) = match (form, items.is_empty()) {
            (Form::Metadata, true) => ("null", "}\n"),
            (Form::Metadata | Form::Full, _) => ("[", "]}\n"),
        };
        Self {
            items: items.into_iter(),
            form,
            head: format!(
                r#"{{"kind":"{name}List","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{version}"{go_on}}},"items":{open}"#
            ),
            tail,
            first: true,
        }
    }

    fn next(&mut self, world: &World) -> Option<(Bytes, usize)> {
        let mut out = std::mem::take(&mut self.head);
        out.reserve(CHUNK + CHUNK / 8);
        let before = self.items.len();
        while out.len() < CHUNK
            && let Some(Stored { version, object }) = self.items.next()
        {
            if !std::mem::take(&mut self.first) {
                out.push(',');
            }
            world
                .renderer
                .object(&mut out, &object, version, self.form, Place::Item);
        }
        if self.items.len() == 0 {
            out.push_str(std::mem::take(&mut self.tail));
        }
        (!out.is_empty()).then(|| (out.into(), before - self.items.len()))
    }
}

/// The changes of the objects of a kind, as they happen.
pub(super) struct Watch {
    world: Arc<World>,
    target: Target,
    options: Options,
    form: Form,
    /// All changes up to here were looked at.
    cursor: u64,
    /// The newest version that was sent.
    sent: u64,
    initial: VecDeque<Stored>,
    /// The mark of the end of the initial events is owed.
    mark_owed: bool,
    changes: watch::Receiver<()>,
    rounds: (u64, u64),
    bookmark_at: Instant,
    end_at: Option<Instant>,
    ended: bool,
}

impl Watch {
    /// A watch from where it is to begin.
    ///
    /// # Errors
    /// What is sent in its stream instead.
    pub(super) fn new(
        world: &Arc<World>,
        target: Target,
        options: Options,
        form: Form,
        begin: Begin,
        now: Instant,
    ) -> Result<Self, Status> {
        let changes = world.changes();
        let mut state = world.lock();
        let current = state.store.version();
        let (cursor, initial, mark_owed) = match begin {
            Begin::After(version) => {
                if let Err(Gone { oldest }) = state.store.changes(target.kind, version) {
                    return Err(Status::watch_too_old(version, oldest));
                }
                (version, VecDeque::new(), false)
            }
            Begin::Now { marked } => {
                let namespace = target.namespace.as_deref();
                let selects = |object: &_| options.selector.selects(object);
                let page = state
                    .store
                    .list(target.kind, current, namespace, None, None, selects);
                let items = page.map(|page| page.items).unwrap_or_default();
                (current, items.into(), marked)
            }
        };
        state.requests.open_watches += 1;
        let rounds = (state.bookmark_round, state.end_round);
        drop(state);
        let timeout = options.timeout_seconds.filter(|&seconds| seconds > 0);
        Ok(Self {
            bookmark_at: now + world.bookmarks_every,
            end_at: timeout.and_then(|seconds| now.checked_add(Duration::from_secs(seconds))),
            world: Arc::clone(world),
            target,
            options,
            form,
            cursor,
            sent: cursor,
            initial,
            mark_owed,
            changes,
            rounds,
            ended: false,
        })
    }

    async fn next(&mut self, world: &World) -> Option<(Bytes, usize)> {
        let mut out = String::new();
        loop {
            let objects = self.write(world, &mut out)?;
            if !out.is_empty() {
                return Some((out.into(), objects));
            }
            let end_at = self.end_at;
            let end = async {
                match end_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.changes.changed() => changed.ok()?,
                () = end => {
                    self.ended = true;
                    self.bookmark(&mut out);
                }
                () = sleep_until(self.bookmark_at) => {
                    self.bookmark_at += world.bookmarks_every;
                    self.bookmark(&mut out);
                }
            }
        }
    }

    /// Writes what there is to send, and returns of how many objects; `None` at the end.
    fn write(&mut self, world: &World, out: &mut String) -> Option<usize> {
        if !out.is_empty() {
            return Some(0);
        }
        if self.ended {
            return None;
        }
        if !self.initial.is_empty() || self.mark_owed {
            return Some(self.write_initial(world, out));
        }
        let kind = self.target.kind;
        let (changes, wants_bookmark) = {
            let state = world.lock();
            if state.end_round != self.rounds.1 {
                return None;
            }
            // A watch that is too slow for the history ends; it is sent when it comes again.
            let changes = state.store.changes(kind, self.cursor).ok()?;
            let changes: Vec<Change> = changes.take(BATCH).cloned().collect();
            if changes.len() < BATCH {
                self.cursor = self.cursor.max(state.store.version());
            }
            let wants = state.bookmark_round != self.rounds.0 && changes.len() < BATCH;
            if wants {
                self.rounds.0 = state.bookmark_round;
            }
            (changes, wants)
        };
        let mut objects = 0;
        for change in changes {
            self.cursor = self.cursor.max(change.version);
            objects += usize::from(self.change(world, &change, out));
        }
        if wants_bookmark {
            self.bookmark(out);
        }
        if out.is_empty() && objects == 0 && self.more(world) {
            return self.write(world, out);
        }
        Some(objects)
    }

    /// Whether there are changes that were not looked at.
    fn more(&self, world: &World) -> bool {
        let state = world.lock();
        let changes = state.store.changes(self.target.kind, self.cursor);
        changes.is_ok_and(|changes| changes.len() > 0)
    }

    fn write_initial(&mut self, world: &World, out: &mut String) -> usize {
        let before = self.initial.len();
        while out.len() < CHUNK
            && let Some(Stored { version, object }) = self.initial.pop_front()
        {
            event(out, "ADDED", |out| {
                world
                    .renderer
                    .object(out, &object, version, self.form, Place::Alone);
            });
        }
        if self.initial.is_empty() && std::mem::take(&mut self.mark_owed) {
            let (kind, form, version) = (self.target.kind, self.form, self.cursor);
            event(out, "BOOKMARK", |out| {
                world.renderer.bookmark(out, kind, form, version, true);
            });
        }
        before - self.initial.len()
    }

    /// Writes a change as a client sees it that asked for these objects. Returns whether there was
    /// anything to send.
    fn change(&mut self, world: &World, change: &Change, out: &mut String) -> bool {
        if !self.covers(&change.key) {
            return false;
        }
        let selected = |object: &_| self.options.selector.selects(object);
        let before = change
            .before
            .as_ref()
            .filter(|stored| selected(&stored.object));
        let after = change.after.as_ref().filter(|object| selected(object));
        let (word, object) = match (before, after) {
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", &before.object),
            (None, None) => return false,
        };
        event(out, word, |out| {
            world
                .renderer
                .object(out, object, change.version, self.form, Place::Alone);
        });
        self.sent = change.version;
        true
    }

    fn covers(&self, key: &Key) -> bool {
        let namespace = key.split('/').next();
        self.target.namespace.is_none() || self.target.namespace.as_deref() == namespace
    }

    /// Sends how far the watch is, if that was asked for and is new.
    fn bookmark(&mut self, out: &mut String) {
        let version = self.cursor;
        if self.options.bookmarks && version > self.sent {
            self.sent = version;
            event(out, "BOOKMARK", |out| {
                let renderer = &self.world.renderer;
                renderer.bookmark(out, self.target.kind, self.form, version, false);
            });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.world.book(|book| book.open_watches -= 1);
    }
}

/// Writes an event of a watch.
fn event(out: &mut String, word: &str, object: impl FnOnce(&mut String)) {
    out.push_str(r#"{"type":""#);
    out.push_str(word);
    out.push_str(r#"","object":"#);
    object(out);
    out.push_str("}\n");
}

/// An event that says why there are no others.
pub(super) fn error_event(status: &Status) -> Bytes {
    let mut out = String::new();
    event(&mut out, "ERROR", |out| {
        out.push_str(&status.to_json().to_string());
    });
    out.into()
}
