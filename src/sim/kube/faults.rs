//! What goes wrong, as it was scripted: which requests it hits, and what they get.
//!
//! Pure: here is only said what happens; the server does it.

use std::time::Duration;

use super::{requests::Sort, status::Status};
use crate::model::Kind;

/// Which requests a fault hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    kind: Option<Kind>,
    sorts: Vec<Sort>,
    namespace: Option<String>,
    skip: u32,
    times: Option<u32>,
}

/// What a request gets instead of, or on top of, its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This answer.
    Answer(Answer),
    /// No answer, ever; the connection stays.
    Silence,
    /// The answer's head comes so late.
    DelayHead(Duration),
    /// The answer stops after so many bytes of its body.
    Cut(usize, Cut),
    /// The answer's body begins with these bytes instead of its own, and ends.
    Garbage(Vec<u8>),
    /// The answer's body is one line that never ends.
    EndlessLine,
    /// A watch has only this event, of type ERROR.
    ErrorEvent(Status),
    /// A watch ends in an orderly way without any event.
    NoEvents,
    /// A watch is served as by a server that never heard of `sendInitialEvents`.
    IgnoreInitialEvents,
}

/// How an answer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As if it were complete.
    Clean,
    /// The connection ends in the midst of the body, by FIN.
    Truncated,
    /// The connection is reset.
    Reset,
    /// Nothing comes any more, and the connection stays.
    Stall,
}

/// An answer that was made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its code.
    pub code: u16,
    /// Its headers other than `Content-Type`.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Names a fault that was scripted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

/// All faults that are to come.
#[derive(Debug, Default)]
pub struct Plan {
    entries: Vec<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    id: FaultId,
    when: When,
    fault: Fault,
}

impl When {
    /// Lists, watches and single objects of every kind.
    pub fn any() -> Self {
        Self::default()
    }

    /// First pages of lists.
    pub fn list() -> Self {
        Self::any().or(Sort::List)
    }

    /// Pages after the first.
    pub fn page() -> Self {
        Self::any().or(Sort::Page)
    }

    /// Watches from a version.
    pub fn watch() -> Self {
        Self::any().or(Sort::Watch)
    }

    /// Watches that ask for a streamed list.
    pub fn watch_list() -> Self {
        Self::any().or(Sort::WatchList)
    }

    /// Requests of this sort too.
    #[must_use]
    pub fn or(mut self, sort: Sort) -> Self {
        self.sorts.push(sort);
        self
    }

    /// Only of this kind.
    #[must_use]
    pub fn of(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only in this namespace.
    #[must_use]
    pub fn inside(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Not the first `n` that would be hit.
    #[must_use]
    pub fn after(mut self, n: u32) -> Self {
        self.skip = n;
        self
    }

    /// Only so many; otherwise until it is cancelled.
    #[must_use]
    pub fn times(mut self, n: u32) -> Self {
        self.times = Some(n);
        self
    }

    /// Only one.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn hits(&self, kind: Option<Kind>, namespace: Option<&str>, sort: Sort) -> bool {
        let sort_fits = match self.sorts.as_slice() {
            [] => kind.is_some(),
            sorts => sorts.contains(&sort),
        };
        sort_fits
            && self.kind.is_none_or(|wanted| kind == Some(wanted))
            && self
                .namespace
                .as_deref()
                .is_none_or(|wanted| namespace == Some(wanted))
    }
}

impl Fault {
    /// An answer with this code and the `Status` that goes with it.
    pub fn code(code: u16) -> Self {
        Self::status(&Status::of_code(code))
    }

    /// An answer with this `Status`.
    pub fn status(status: &Status) -> Self {
        Self::Answer(Answer {
            code: status.code,
            headers: Vec::new(),
            body: status.to_json().to_string().into_bytes(),
        })
    }

    /// The answer gets one more header, if it is a made up one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer(answer) = &mut self {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// 410 in the stream of a watch.
    pub fn gone_in_stream() -> Self {
        Self::ErrorEvent(Status::watch_too_old(1, 2))
    }
}

impl Plan {
    /// Adds a fault. Of several that hit a request the oldest counts.
    pub fn add(&mut self, when: When, fault: Fault) -> FaultId {
        let id = FaultId(self.next);
        self.next += 1;
        self.entries.push(Entry { id, when, fault });
        id
    }

    /// Removes a fault; one that has run out is removed already.
    pub fn cancel(&mut self, id: FaultId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// Removes all faults.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// What happens to this request. Counts it.
    pub fn strike(
        &mut self,
        kind: Option<Kind>,
        namespace: Option<&str>,
        sort: Sort,
    ) -> Option<Fault> {
        let mut struck = None;
        for entry in &mut self.entries {
            let when = &mut entry.when;
            if !when.hits(kind, namespace, sort) || struck.is_some() {
                continue;
            }
            match when.skip.checked_sub(1) {
                Some(skip) => when.skip = skip,
                None => {
                    when.times = when.times.map(|times| times.saturating_sub(1));
                    struck = Some(entry.fault.clone());
                }
            }
        }
        self.entries.retain(|entry| entry.when.times != Some(0));
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_the_requests_it_was_scripted_for_and_no_others() {
        let mut plan = Plan::default();
        plan.add(
            When::watch().of(Kind::POD).after(1).times(2),
            Fault::Silence,
        );
        let mut hits = |kind, sort| plan.strike(Some(kind), None, sort).is_some();
        assert!(!hits(Kind::JOB, Sort::Watch));
        assert!(!hits(Kind::POD, Sort::List));
        let watches: Vec<bool> = (0..4).map(|_| hits(Kind::POD, Sort::Watch)).collect();
        assert_eq!(watches, [false, true, true, false]);
    }

    #[test]
    fn a_fault_without_end_ends_when_it_is_cancelled() {
        let mut plan = Plan::default();
        let id = plan.add(When::any().inside("shop"), Fault::code(503));
        for _ in 0..3 {
            assert!(
                plan.strike(Some(Kind::POD), Some("shop"), Sort::List)
                    .is_some()
            );
            assert!(plan.strike(Some(Kind::POD), None, Sort::List).is_none());
            assert!(plan.strike(None, None, Sort::Version).is_none());
        }
        plan.cancel(id);
        assert!(
            plan.strike(Some(Kind::POD), Some("shop"), Sort::List)
                .is_none()
        );
    }

    #[test]
    fn of_two_faults_the_older_one_counts_until_it_has_run_out() {
        let mut plan = Plan::default();
        plan.add(When::list().once(), Fault::code(500));
        plan.add(When::list(), Fault::Silence);
        let mut struck = || plan.strike(Some(Kind::POD), None, Sort::List);
        assert_eq!(struck(), Some(Fault::code(500)));
        assert_eq!(struck(), Some(Fault::Silence));
    }
}
