//! The compat harness: drives relays with the same input and compares what their reducers were
//! sent. `compat/README.md` says what is compared, `docs/results.md` how to read a result.
//!
//! | module | what it is |
//! |---|---|
//! | [`case`], [`recording`], [`info`] | what is done: case files and recordings |
//! | [`peers`], [`relay`], [`window`] | who takes part, and how it is started and watched |
//! | [`player`], [`collector`], [`run`] | does a case to all peers at the same pace |
//! | [`outcome`], [`sequences`], [`reducer_state`] | what came of it, in forms that compare |
//! | [`case_result`], [`exceptions`] | two of these against each other |
//! | [`fault`], [`self_test`] | bad peers, which the harness must find |
//! | [`regexps`] | the reader of Go's regular expressions, against Go |
//! | [`plan`], [`report`] | what is run, and what is said about it |
//!
//! Invariants: nothing waits without a limit; a peer that fails is named with what it failed in;
//! how long something took is reported and never judged. Absent here: any expectation of a case's
//! own. What is expected comes from another peer, or from a recording of one.

pub mod case;
pub mod case_result;
pub mod collector;
pub mod exceptions;
pub mod fault;
pub mod info;
pub mod outcome;
pub mod peers;
pub mod plan;
pub mod player;
pub mod recording;
pub mod reducer_state;
pub mod regexps;
pub mod relay;
pub mod report;
pub mod run;
pub mod self_test;
pub mod sequences;
pub mod streams;
pub mod window;
