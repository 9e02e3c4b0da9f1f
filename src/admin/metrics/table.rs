//! What a row of a table of metrics is, and how it is written.

use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};

use super::Scrape;

/// One metric. Without a sample it has a name and a meaning only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    kind: Kind,
    name: &'static str,
    unit: Option<Measure>,
    help: &'static str,
    samples: fn(&Scrape) -> Samples,
}

pub(super) type Samples = Vec<Sample>;

/// A value with its labels.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) value: f64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Gauge,
    Counter,
}

#[derive(Clone, Copy, Debug)]
enum Measure {
    Seconds,
    Bytes,
}

/// A metric that goes up and down.
pub(super) const fn gauge(
    name: &'static str,
    help: &'static str,
    samples: fn(&Scrape) -> Samples,
) -> Metric {
    Metric {
        kind: Kind::Gauge,
        name,
        unit: None,
        help,
        samples,
    }
}

/// A metric that only grows while the process runs.
pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    samples: fn(&Scrape) -> Samples,
) -> Metric {
    Metric {
        kind: Kind::Counter,
        ..gauge(name, help, samples)
    }
}

impl Metric {
    /// In seconds.
    pub(super) const fn seconds(self) -> Self {
        Self {
            unit: Some(Measure::Seconds),
            ..self
        }
    }

    /// In bytes.
    pub(super) const fn bytes(self) -> Self {
        Self {
            unit: Some(Measure::Bytes),
            ..self
        }
    }

    pub(super) fn write(&self, scrape: &Scrape, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let unit = self.unit.map(|unit| match unit {
            Measure::Seconds => Unit::Seconds,
            Measure::Bytes => Unit::Bytes,
        });
        let kind = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
        };
        let mut metric = to.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        for Sample { labels, value } in (self.samples)(scrape) {
            if labels.is_empty() {
                self.sample(&mut metric, value)?;
            } else {
                self.sample(&mut metric.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }

    fn sample(&self, to: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.kind {
            Kind::Gauge => to.encode_gauge(&value),
            Kind::Counter => to.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>),
        }
    }
}

/// A value without labels.
pub(super) fn one(value: f64) -> Samples {
    vec![Sample {
        labels: Vec::new(),
        value,
    }]
}

/// A value without labels, or no sample.
pub(super) fn maybe(value: Option<f64>) -> Samples {
    value.map(one).unwrap_or_default()
}

/// A value with one label.
pub(super) fn by(label: &'static str, is: impl Into<Cow<'static, str>>, value: f64) -> Sample {
    Sample {
        labels: vec![(label, is.into())],
        value,
    }
}

/// One value for each value of a label.
pub(super) fn each(
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, f64)>,
) -> Samples {
    let values = values.into_iter();
    values.map(|(is, value)| by(label, is, value)).collect()
}

pub(super) fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

pub(super) fn load(count: &AtomicU64) -> f64 {
    number(count.load(Relaxed))
}
