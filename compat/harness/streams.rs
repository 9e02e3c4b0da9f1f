//! What `k8s-relay tee --record` has kept, as a case (`docs/recording-format.md`).

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use k8s_relay::tee::recording::{Fault, Reader, What};

use super::case::{Case, Heard};

/// Reads a recording. One that was cut is played up to there, which its description says. How
/// the relay of then ended a stream is no part of the case: two relays of now are compared.
///
/// # Errors
/// It cannot be read, was altered, or nothing happens in it.
pub fn read(path: &Path) -> Result<Case> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(shown)?;
    let mut reader = Reader::new();
    reader.push(&bytes);
    let mut heard = Vec::new();
    while let Some(record) = reader.next_record().with_context(shown)? {
        let what = match record.what {
            What::Opened => Heard::Opened,
            What::Message(bytes) => Heard::Message(bytes),
            What::HalfClosed => Heard::HalfClosed,
            What::Cancelled => Heard::Cancelled,
            What::Ended(_) => continue,
        };
        heard.push((record.at, record.stream, what));
    }
    let cut = match reader.finish() {
        Ok(()) => String::new(),
        Err(error) if error.fault == Fault::Cut => format!(" (cut at byte {})", error.at),
        Err(error) => return Err(error).with_context(shown),
    };
    ensure!(!heard.is_empty(), "{}: nothing happens in it", shown());
    let case = Case::of_streams(shown(), heard);
    Ok(Case {
        description: cut,
        ..case
    })
}
