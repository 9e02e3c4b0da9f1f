//! `Status`: how an API server says no.

/// A `Status` object: in the stream of a watch, in place of a list, or as the body of an
/// HTTP error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// As of HTTP; 0 if there is none.
    pub code: u16,
    /// One word, as `Expired`; at most [`Status::MAX_TEXT_LEN`] bytes.
    pub reason: String,
    /// For people; cut at [`Status::MAX_TEXT_LEN`] bytes.
    pub message: String,
    /// `details.retryAfterSeconds`, if it is a positive number.
    pub retry_after_seconds: Option<u32>,
}

impl Status {
    /// The longest text that is kept, in bytes.
    pub const MAX_TEXT_LEN: usize = 1024;

    /// Reads the body of an HTTP error; none if it is no `Status`.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let _ = body;
        None
    }
}
