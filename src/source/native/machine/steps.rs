//! What a watch is given, and what it says is to be done next.

use std::time::Instant;

use crate::source::native::{ListMode, Timeouts};

/// How a watch is to behave.
#[derive(Clone, Debug)]
pub struct Rules {
    /// All durations.
    pub timeouts: Timeouts,
    /// How to list.
    pub list: ListMode,
    /// Objects in a page; at least 1.
    pub page_size: u32,
    /// Requests are made with a selector.
    pub selector: bool,
}

/// When something happened, and a number of chance, at least 0 and less than 1.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Instant,
    /// The chance.
    pub jitter: f64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStep<'a> {
    /// Nothing until then.
    Wait(Instant),
    /// A request.
    Request(ApiRequest<'a>),
}

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRequest<'a> {
    /// All objects as the first events of a watch (WatchList).
    StreamedList,
    /// A part of all objects.
    Page {
        /// At most so many.
        limit: u32,
        /// Where the page before ended; `None` for the first one.
        token: Option<&'a str>,
    },
    /// The version that the server is at.
    Version {
        /// Asked with the selector, which costs the server more.
        selected: bool,
    },
    /// What has happened since.
    Watch {
        /// The version to start after.
        version: &'a str,
    },
}
