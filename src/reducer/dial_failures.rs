//! Failures to connect since the last connection, and which of them are worth a line.

/// How many there were, and the latest of them.
#[derive(Default)]
pub(super) struct DialFailures {
    /// Since the last connection.
    pub(super) count: u64,
    text: String,
}

impl DialFailures {
    /// Counts a failure; the first, the second, the fourth … of a kind is worth a line.
    pub(super) fn is_worth_a_line(&mut self, text: String) -> bool {
        self.count += 1;
        let new = self.text != text;
        self.text = text;
        new || self.count.is_power_of_two()
    }
}
