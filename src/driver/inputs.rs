//! Both sources as one: they take turns, so that neither starves the other.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::source::{SourceInput, WatchInput};

/// What the sources say, and whose turn it is.
pub(super) struct Inputs {
    collect: mpsc::Receiver<SourceInput>,
    watches: Option<mpsc::Receiver<WatchInput>>,
    watches_first: bool,
}

/// What one of them says.
pub(super) enum Word {
    Collect(SourceInput),
    Watch(WatchInput),
}

impl Inputs {
    pub(super) fn new(
        collect: mpsc::Receiver<SourceInput>,
        watches: Option<mpsc::Receiver<WatchInput>>,
    ) -> Self {
        Self {
            collect,
            watches,
            watches_first: false,
        }
    }

    /// Our own watches speak here from now on, or not at all.
    pub(super) fn set_watches(&mut self, watches: Option<mpsc::Receiver<WatchInput>>) {
        self.watches = watches;
    }

    /// The next word; `None` once every source has ended. Nothing is lost if this is dropped.
    pub(super) async fn next(&mut self) -> Option<Word> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.collect.is_empty() && self.watches.as_ref().is_none_or(mpsc::Receiver::is_empty)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Word>> {
        self.watches_first = !self.watches_first;
        let mut ended = true;
        for watches in [self.watches_first, !self.watches_first] {
            let word = if watches {
                let Some(watches) = &mut self.watches else {
                    continue;
                };
                watches.poll_recv(context).map(|said| said.map(Word::Watch))
            } else {
                let said = self.collect.poll_recv(context);
                said.map(|said| said.map(Word::Collect))
            };
            match word {
                Poll::Ready(Some(word)) => return Poll::Ready(Some(word)),
                Poll::Ready(None) => {}
                Poll::Pending => ended = false,
            }
        }
        if ended {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}
