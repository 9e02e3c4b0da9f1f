//! The feeds as somebody sees them who asks how they stand.

use std::time::Instant;

use super::{
    Feeds, SourceKind,
    feed::{Feed, FeedState},
};
use crate::{
    matcher::{Generation, Matcher},
    model::Uid,
    stores::Stores,
};

/// One feed as it stands.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its number.
    pub generation: Generation,
    /// Where its events come from.
    pub source: SourceKind,
    /// Whether it is the active one.
    pub active: bool,
    feed: &'a Feed,
}

impl Feeds {
    /// The stream that is compared: the active one, or while the native watches are active the one
    /// that would be. Under [`Handover::Legacy`](super::Handover) the newest that is open.
    pub fn compared_stream_view(&self) -> Option<View<'_>> {
        self.view(self.compared_stream()?)
    }

    /// The `Collect` feed that counts: the one that is compared, else the ended one whose pods are
    /// still announced.
    pub fn collect_view(&self) -> Option<View<'_>> {
        let announced = || self.announced_from(SourceKind::Collect);
        self.compared_stream_view().or_else(announced)
    }

    /// The feed of the native watches; the ended one if its pods are still announced.
    pub fn native_view(&self) -> Option<View<'_>> {
        let running = self.native.and_then(|native| self.view(native));
        running.or_else(|| self.announced_from(SourceKind::Native))
    }

    fn announced_from(&self, source: SourceKind) -> Option<View<'_>> {
        self.view(self.active?).filter(|view| view.source == source)
    }

    /// Both, the active one first.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let (collect, native) = (self.collect_view(), self.native_view());
        let both = match native {
            Some(View { active: true, .. }) => [native, collect],
            Some(_) | None => [collect, native],
        };
        both.into_iter().flatten()
    }

    /// See [`Announcer::settles_at`](crate::announce::Announcer::settles_at).
    pub fn settles_at(&self, uid: &Uid) -> Option<Instant> {
        self.announcer.settles_at(uid)
    }

    /// Whether this pod stays announced until the active feed is trusted to know all there is.
    pub fn is_held(&self, uid: &Uid) -> bool {
        self.announcer.holds() && self.announcer.keeps(uid)
    }

    /// Whether what streams send is heard.
    pub fn hears_streams(&self) -> bool {
        !self.is_deaf
    }

    /// This feed, if there still is one.
    pub fn feed_view(&self, generation: Generation) -> Option<View<'_>> {
        self.view(generation)
    }

    fn view(&self, generation: Generation) -> Option<View<'_>> {
        let feed = self.feeds.get(&generation)?;
        Some(View {
            generation,
            source: feed.source,
            active: self.active == Some(generation),
            feed,
        })
    }
}

/// This feed, if it is a stream.
pub(super) fn stream_of(
    feeds: &Feeds,
    generation: Option<Generation>,
) -> Option<(Generation, &Feed)> {
    let generation = generation?;
    let feed = feeds.feeds.get(&generation)?;
    (feed.source == SourceKind::Collect).then_some((generation, feed))
}

impl<'a> View<'a> {
    /// What it knows.
    pub fn matcher(&self) -> &'a Matcher {
        &self.feed.matcher
    }

    /// Its objects.
    pub fn objects(&self) -> Stores {
        self.feed.objects()
    }

    /// Whether its source still speaks and is heard.
    pub fn is_open(&self) -> bool {
        self.feed.state == FeedState::Open
    }

    /// Whether its first lists are complete.
    pub fn is_listed(&self) -> bool {
        self.feed.synced
    }

    /// How many events it has sent.
    pub fn events(&self) -> u64 {
        self.feed.events
    }

    /// When it was opened.
    pub fn opened(&self) -> Instant {
        self.feed.opened_at
    }

    /// When it sent something last; `None`: it has not yet.
    pub fn last_event(&self) -> Option<Instant> {
        self.feed.last_event
    }
}
