//! What a Lease says, and in which version it says so.

use std::time::Duration;

/// Which Lease, and which state of it. Two of them are equal exactly if nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The uid: a Lease that was deleted and created again has another one.
    pub uid: String,
    /// The `resourceVersion`.
    pub resource: String,
}

impl Version {
    /// Whether this is not after `other`, as far as it can be said: versions of a real API server
    /// are numbers that grow.
    pub fn is_not_after(&self, other: &Self) -> bool {
        let number = |version: &Self| version.resource.parse::<u64>().ok();
        match (number(self), number(other)) {
            (Some(this), Some(other)) => this <= other,
            (None, _) | (_, None) => self == other,
        }
    }
}

/// What a Lease says. Times are shown to people, and distinguish records; nobody compares them with
/// a clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty: nobody.
    pub holder: String,
    /// For how long, in seconds.
    pub duration: u32,
    /// How often it has gone to another holder.
    pub transitions: i32,
    /// When the holder got it, in microseconds since the UNIX epoch.
    pub acquired: Option<i64>,
    /// When the holder renewed it, in microseconds since the UNIX epoch.
    pub renewed: Option<i64>,
    /// Who has handed it over, as `identity/transitions`: see [`Record::HANDOVER`].
    pub handover: Option<String>,
    /// The transitions at which the holder has announced everything: see [`Record::IN_SYNC`].
    pub in_sync: Option<String>,
}

impl Record {
    /// The annotation with which a holder says that it writes nothing any more.
    pub const HANDOVER: &'static str = "k8s-relay/handover";
    /// The annotation with which a holder says that the reducer has everything from it.
    pub const IN_SYNC: &'static str = "k8s-relay/in-sync";

    /// Whether nobody holds it.
    pub fn is_free(&self) -> bool {
        self.holder.is_empty()
    }

    /// Whether the holder of `before` has handed it over, so that nobody has to wait for it.
    pub fn is_handed_over_by(&self, before: &Self) -> bool {
        self.is_free() && !before.is_free() && self.handover == Some(before.handover_mark())
    }

    /// What [`Record::HANDOVER`] says when this holder hands over.
    pub fn handover_mark(&self) -> String {
        format!("{}/{}", self.holder, self.transitions)
    }

    /// Whether its holder has announced everything.
    pub fn is_in_sync(&self) -> bool {
        !self.is_free() && self.in_sync == Some(self.transitions.to_string())
    }

    /// How long its holder may claim it.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.duration.into())
    }
}

/// A Lease as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which state of it.
    pub version: Version,
    /// What it said.
    pub record: Record,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(resource: &str) -> Version {
        Version {
            uid: "u".to_owned(),
            resource: resource.to_owned(),
        }
    }

    #[test]
    fn versions_are_compared_as_numbers_and_other_texts_only_for_equality() {
        for (this, other, is_not_after) in [
            ("9", "10", true),
            ("10", "9", false),
            ("9", "9", true),
            ("a", "a", true),
            ("a", "b", false),
            ("9", "b", false),
        ] {
            let found = version(this).is_not_after(&version(other));
            assert_eq!(found, is_not_after, "{this} {other}");
        }
    }

    #[test]
    fn only_the_holder_seen_before_hands_over_and_only_its_present_term() {
        let before = Record {
            holder: "a".to_owned(),
            transitions: 7,
            ..Record::default()
        };
        for (holder, handover, is_handed_over) in [
            ("", Some("a/7"), true),
            ("", Some("a/6"), false),
            ("", Some("b/7"), false),
            ("", None, false),
            ("b", Some("a/7"), false),
        ] {
            let record = Record {
                holder: holder.to_owned(),
                handover: handover.map(str::to_owned),
                transitions: 7,
                ..Record::default()
            };
            assert_eq!(record.is_handed_over_by(&before), is_handed_over);
        }
        let free = Record::default();
        let forged = Record {
            handover: Some("/0".to_owned()),
            ..Record::default()
        };
        assert!(!forged.is_handed_over_by(&free));
    }
}
