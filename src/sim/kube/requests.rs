//! What was asked of the server.
//!
//! Pure. The newest [`KEPT`] requests are kept; all are counted.

use std::collections::{BTreeMap, VecDeque};

use crate::model::Kind;

/// So many requests are kept.
pub const KEPT: usize = 20_000;

/// What sort of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort {
    /// The first page of a list, or all of it.
    List,
    /// A page after the first.
    Page,
    /// A watch without `sendInitialEvents=true`.
    Watch,
    /// A watch that asks for a streamed list.
    WatchList,
    /// A single object.
    Object,
    /// `/version`.
    Version,
    /// Anything else.
    Other,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Counts requests from 1.
    pub number: u64,
    /// Counts connections from 1.
    pub connection: u64,
    /// What was asked for, if it is one of the kinds.
    pub kind: Option<Kind>,
    /// Within this namespace only.
    pub namespace: Option<String>,
    /// What sort of request it is.
    pub sort: Sort,
    /// The path.
    pub path: String,
    /// The query, as it came.
    pub query: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Authorization`, as it came.
    pub authorization: String,
    /// `Accept`.
    pub accept: String,
    /// The code it was answered with; `None` while it is not.
    pub code: Option<u16>,
}

/// All requests.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// The newest ones, oldest first.
    pub kept: VecDeque<Request>,
    counts: BTreeMap<(Option<Kind>, Sort), u64>,
    total: u64,
    /// How many watches are being served.
    pub open_watches: usize,
    /// How many connections were accepted.
    pub connections: u64,
    /// Bytes of all bodies that were sent.
    pub body_bytes: u64,
    /// Objects that were sent in lists and events.
    pub objects: u64,
}

impl Requests {
    /// How many requests there were in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many of a sort there were for a kind.
    pub fn count(&self, kind: Kind, sort: Sort) -> u64 {
        let counts = self.counts.get(&(Some(kind), sort));
        counts.copied().unwrap_or_default()
    }

    /// How many lists of a kind were begun, in whichever way: pages or stream.
    pub fn lists(&self, kind: Kind) -> u64 {
        self.count(kind, Sort::List) + self.count(kind, Sort::WatchList)
    }

    /// The kept ones of a kind and sort, oldest first.
    pub fn of(&self, kind: Kind, sort: Sort) -> impl Iterator<Item = &Request> {
        let wanted = move |request: &&Request| request.kind == Some(kind) && request.sort == sort;
        self.kept.iter().filter(wanted)
    }

    /// Adds one and says its number.
    pub(super) fn add(&mut self, mut request: Request) -> u64 {
        self.total += 1;
        request.number = self.total;
        *self.counts.entry((request.kind, request.sort)).or_default() += 1;
        self.kept.push_back(request);
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        self.total
    }

    pub(super) fn answered(&mut self, number: u64, code: u16) {
        let newest = self.kept.iter_mut().rev();
        for request in newest.take_while(|request| request.number >= number) {
            if request.number == number {
                request.code = Some(code);
            }
        }
    }
}
