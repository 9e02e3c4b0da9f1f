//! The feeds as somebody sees them who asks how they stand.

use std::time::Instant;

use super::{
    ActiveSource, Feeds,
    feed::{Feed, FeedState},
};
use crate::{
    matcher::{Generation, Matcher},
    model::Uid,
    stores::Objects,
};

/// One feed as it stands.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its number.
    pub generation: Generation,
    /// Where its events come from.
    pub source: ActiveSource,
    /// Whether it is the one that is told.
    pub active: bool,
    feed: &'a Feed,
}

impl Feeds {
    /// Which source the active feed comes from, also when there is no feed yet.
    pub fn source(&self) -> ActiveSource {
        self.settings.active
    }

    /// The `Collect` feed that counts: the active one, else the newest open one.
    pub fn collect_view(&self) -> Option<View<'_>> {
        let collect = |generation: &Generation| Some(*generation) != self.native;
        let open = || {
            let mut newest = self.feeds.iter().rev();
            let (generation, _) = newest
                .find(|(generation, feed)| collect(generation) && feed.state == FeedState::Open)?;
            Some(*generation)
        };
        self.view(self.active.filter(collect).or_else(open)?)
    }

    /// The feed of our own watches.
    pub fn native_view(&self) -> Option<View<'_>> {
        self.view(self.native?)
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

    /// See [`Telling::settles_at`](crate::matcher::Telling::settles_at).
    pub fn settles_at(&self, uid: &Uid) -> Option<Instant> {
        self.telling.settles_at(uid)
    }

    /// See [`Telling::owes_deletes`](crate::matcher::Telling::owes_deletes).
    pub fn owes_deletes(&self) -> bool {
        self.telling.owes_deletes()
    }

    fn view(&self, generation: Generation) -> Option<View<'_>> {
        Some(View {
            generation,
            source: if Some(generation) == self.native {
                ActiveSource::Native
            } else {
                ActiveSource::Collect
            },
            active: self.active == Some(generation),
            feed: self.feeds.get(&generation)?,
        })
    }
}

impl<'a> View<'a> {
    /// What it knows.
    pub fn matcher(&self) -> &'a Matcher {
        &self.feed.matcher
    }

    /// Its objects.
    pub fn objects(&self) -> Objects {
        self.feed.objects()
    }

    /// Whether its source still speaks and is heard.
    pub fn is_open(&self) -> bool {
        self.feed.state == FeedState::Open
    }

    /// Whether its first lists are complete.
    pub fn is_listed(&self) -> bool {
        self.feed.listed
    }

    /// When it was opened.
    pub fn opened(&self) -> Instant {
        self.feed.opened
    }

    /// When it told something last; `None`: it has not yet.
    pub fn last_event(&self) -> Option<Instant> {
        Some(self.feed.last_event).filter(|at| *at > self.feed.opened)
    }
}
