//! The Lease as an object of the API server, and back. Pure.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};

use super::{Observed, Record, Version};

/// What an object says.
pub(super) fn observed(lease: &Lease) -> Observed {
    let LeaseSpec {
        acquire_time,
        holder_identity,
        lease_duration_seconds,
        lease_transitions,
        renew_time,
        preferred_holder: _,
        strategy: _,
    } = lease.spec.clone().unwrap_or_default();
    let micros = |time: Option<MicroTime>| time.map(|MicroTime(time)| time.as_microsecond());
    let annotation = |name: &str| {
        let annotations = lease.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(name)).cloned()
    };
    Observed {
        version: Version {
            uid: lease.metadata.uid.clone().unwrap_or_default(),
            resource: lease.metadata.resource_version.clone().unwrap_or_default(),
        },
        record: Record {
            holder: holder_identity.unwrap_or_default(),
            duration: lease_duration_seconds
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or_default(),
            transitions: lease_transitions.unwrap_or_default(),
            acquired: micros(acquire_time),
            renewed: micros(renew_time),
            handover: annotation(Record::HANDOVER),
            in_sync: annotation(Record::IN_SYNC),
        },
    }
}

/// An object that says this, in place of one version of it, if there is one. What the record has no
/// word for stays as `base` has it.
pub(super) fn object(
    name: &str,
    version: Option<&Version>,
    record: &Record,
    base: Option<Lease>,
) -> Lease {
    let mut lease = base.unwrap_or_default();
    let metadata = &mut lease.metadata;
    metadata.name = Some(name.to_owned());
    metadata.managed_fields = None;
    metadata.uid = version.map(|version| version.uid.clone());
    metadata.resource_version = version.map(|version| version.resource.clone());
    let annotations = metadata.annotations.get_or_insert_default();
    for (name, value) in [
        (Record::HANDOVER, &record.handover),
        (Record::IN_SYNC, &record.in_sync),
    ] {
        match value {
            Some(value) => annotations.insert(name.to_owned(), value.clone()),
            None => annotations.remove(name),
        };
    }
    let time = |micros: Option<i64>| {
        let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        time.map(MicroTime)
    };
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(record.holder.clone()).filter(|holder| !holder.is_empty());
    spec.lease_duration_seconds = i32::try_from(record.duration).ok();
    spec.lease_transitions = Some(record.transitions);
    spec.acquire_time = time(record.acquired);
    spec.renew_time = time(record.renewed);
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            holder: "a".to_owned(),
            duration: 15,
            transitions: 3,
            acquired: Some(1_700_000_000_000_001),
            renewed: Some(1_700_000_000_000_002),
            handover: None,
            in_sync: Some("3".to_owned()),
        }
    }

    #[test]
    fn a_record_survives_the_way_to_the_server_and_back_and_keeps_what_is_not_ours() {
        let version = Version {
            uid: "u".to_owned(),
            resource: "7".to_owned(),
        };
        for record in [record(), Record::default()] {
            let mut base = Lease::default();
            let labels = [("team".to_owned(), "x".to_owned())];
            base.metadata.labels = Some(labels.into_iter().collect());
            let old = [(Record::HANDOVER.to_owned(), "b/2".to_owned())];
            base.metadata.annotations = Some(old.into_iter().collect());
            let lease = object("relay", Some(&version), &record, Some(base.clone()));
            assert_eq!(lease.metadata.labels, base.metadata.labels);
            let json = serde_json::to_string(&lease).unwrap();
            let lease: Lease = serde_json::from_str(&json).unwrap();
            let version = version.clone();
            assert_eq!(observed(&lease), Observed { version, record });
        }
    }

    #[test]
    fn an_object_with_strange_numbers_is_read_all_the_same() {
        let mut lease = object("relay", None, &record(), None);
        let spec = lease.spec.as_mut().unwrap();
        (spec.lease_duration_seconds, spec.lease_transitions) = (Some(-5), Some(-1));
        let record = observed(&lease).record;
        assert_eq!((record.duration, record.transitions), (0, -1));
    }
}
