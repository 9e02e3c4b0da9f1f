//! Both sources and the queries as one: they take turns, so that none starves another.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use super::query::DriverQuery;
use crate::source::{CollectMessage, WatchMessage};

/// What the sources say, and whose turn it is.
pub(super) struct Inputs {
    collect: mpsc::Receiver<CollectMessage>,
    watches: Option<mpsc::Receiver<WatchMessage>>,
    /// `None` once nobody is left who could ask.
    queries: Option<mpsc::Receiver<DriverQuery>>,
    /// Who is heard first the next time.
    first: usize,
}

/// Who is heard, in turns.
#[derive(Clone, Copy)]
enum Speaker {
    Collect,
    Watches,
    Queries,
}

const SPEAKERS: [Speaker; 3] = [Speaker::Collect, Speaker::Watches, Speaker::Queries];

/// What one of them says.
pub(super) enum Word {
    Collect(CollectMessage),
    Watch(WatchMessage),
    Query(DriverQuery),
}

impl Inputs {
    pub(super) fn new(
        collect: mpsc::Receiver<CollectMessage>,
        watches: Option<mpsc::Receiver<WatchMessage>>,
    ) -> Self {
        Self {
            collect,
            watches,
            queries: None,
            first: 0,
        }
    }

    /// The native watches speak here from now on, or not at all.
    pub(super) fn set_watches(&mut self, watches: Option<mpsc::Receiver<WatchMessage>>) {
        self.watches = watches;
    }

    /// Hears these queries, too.
    pub(super) fn hear(&mut self, queries: mpsc::Receiver<DriverQuery>) {
        self.queries = Some(queries);
    }

    /// The next word; `None` once every source has ended, although clients may still ask. Nothing
    /// is lost if this is dropped.
    pub(super) async fn next(&mut self) -> Option<Word> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Whether no source waits to be heard.
    pub(super) fn is_empty(&self) -> bool {
        self.collect.is_empty() && self.watches.as_ref().is_none_or(mpsc::Receiver::is_empty)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Word>> {
        self.first = (self.first + 1) % SPEAKERS.len();
        let turns = SPEAKERS.iter().cycle().skip(self.first);
        let mut ended = true;
        for speaker in turns.take(SPEAKERS.len()) {
            let word = match speaker {
                Speaker::Collect => {
                    let said = self.collect.poll_recv(context);
                    said.map(|said| said.map(Word::Collect))
                }
                Speaker::Watches => {
                    let Some(watches) = &mut self.watches else {
                        continue;
                    };
                    watches.poll_recv(context).map(|said| said.map(Word::Watch))
                }
                Speaker::Queries => {
                    let Some(queries) = &mut self.queries else {
                        continue;
                    };
                    match queries.poll_recv(context) {
                        Poll::Ready(Some(query)) => {
                            return Poll::Ready(Some(Word::Query(query)));
                        }
                        Poll::Ready(None) => self.queries = None,
                        Poll::Pending => {}
                    }
                    continue;
                }
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
