//! Certificates in use, and clients with which there is no TLS.

use std::borrow::Cow;

use super::table::{Metric, Sample, Samples, counter, flag, gauge, number};
use crate::net::tls::material::now;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "tls_certificate_ends_in",
        "Time until a certificate in use ends, negative once it is over; by the use that it is \
         for, its part (chain or authority) and its place in its file, up to 7",
        |scrape| {
            let now = now().as_secs_f64();
            let mut samples = Samples::new();
            for standing in scrape.sources.tls.standing() {
                for one in &standing.certificates {
                    let Some(validity) = one.validity else {
                        continue;
                    };
                    samples.push(Sample {
                        labels: vec![
                            ("use", Cow::Borrowed(standing.role.label)),
                            ("part", Cow::Borrowed(one.part.label())),
                            ("index", Cow::Owned(one.index.to_string())),
                        ],
                        value: validity.not_after.as_secs_f64() - now,
                    });
                }
            }
            samples
        },
    )
    .seconds()
    .by(&["use", "part", "index"]),
    gauge(
        "tls_files_unusable",
        "Whether the files of certificates and keys cannot be used as they stand, so that the \
         ones before are kept; by use",
        |scrape| {
            let standings = scrape.sources.tls.standing().into_iter();
            standings
                .map(|one| super::table::by("use", one.role.label, flag(one.flaw.is_some())))
                .collect()
        },
    )
    .by(&["use"]),
    counter(
        "tls_handshakes_failed",
        "Clients with which there was no TLS, by listener and reason; those that spoke TLS to a \
         port without it are counted, too",
        |scrape| {
            let mut samples = Samples::new();
            for listener in &scrape.sources.handshakes {
                for (reason, count) in listener.failed() {
                    samples.push(Sample {
                        labels: vec![
                            ("listener", Cow::Borrowed(listener.listener())),
                            ("reason", Cow::Borrowed(reason.label())),
                        ],
                        value: number(count),
                    });
                }
            }
            samples
        },
    )
    .by(&["listener", "reason"]),
];
