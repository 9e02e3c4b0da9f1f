//! What a row of a table of metrics is, and how it is written.

use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar, histogram::Histogram},
    registry::Unit,
};

use super::Scrape;

/// One metric. Without a sample it has a name and a meaning only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    name: &'static str,
    unit: Option<Measure>,
    labels: &'static [&'static str],
    help: &'static str,
    of: Of,
}

/// Of which type a metric is, and how its samples are read.
#[derive(Clone, Copy, Debug)]
enum Of {
    Gauge(fn(&Scrape) -> Samples),
    Counter(fn(&Scrape) -> Samples),
    Histogram(fn(&Scrape) -> Vec<(Labels, Histogram)>),
    Info(fn(&Scrape) -> Labels),
}

/// The names and values of labels, in the order of [`Row::labels`].
pub(super) type Labels = Vec<(&'static str, Cow<'static, str>)>;

pub(super) type Samples = Vec<Sample>;

/// A value with its labels.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

#[derive(Clone, Copy, Debug)]
enum Measure {
    Seconds,
    Bytes,
}

/// What can be known of a metric without its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// As samples are called, but for the suffixes of a histogram's.
    pub name: String,
    /// `gauge`, `counter` or `histogram`.
    pub kind: &'static str,
    /// `seconds`, `bytes` or nothing.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, without a full stop.
    pub help: &'static str,
}

/// A metric that goes up and down.
pub(super) const fn gauge(
    name: &'static str,
    help: &'static str,
    samples: fn(&Scrape) -> Samples,
) -> Metric {
    metric(name, help, Of::Gauge(samples))
}

/// A metric that only grows while the process runs. Its samples are called `NAME_total`.
pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    samples: fn(&Scrape) -> Samples,
) -> Metric {
    metric(name, help, Of::Counter(samples))
}

/// A metric that counts how often a value was how large.
pub(super) const fn histogram(
    name: &'static str,
    help: &'static str,
    samples: fn(&Scrape) -> Vec<(Labels, Histogram)>,
) -> Metric {
    metric(name, help, Of::Histogram(samples))
}

/// A metric whose labels say something and whose value is always 1. It is called `NAME_info`.
pub(super) const fn info(
    name: &'static str,
    help: &'static str,
    labels: fn(&Scrape) -> Labels,
) -> Metric {
    metric(name, help, Of::Info(labels))
}

const fn metric(name: &'static str, help: &'static str, of: Of) -> Metric {
    Metric {
        name,
        unit: None,
        labels: &[],
        help,
        of,
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

    /// Each sample has these labels.
    pub(super) const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// What can be known of it without its samples, where all names begin like this.
    pub(super) fn row(&self, prefix: &str) -> Row {
        let unit = self.unit.map_or("", Measure::name);
        let (kind, suffix) = match self.of {
            Of::Gauge(_) => ("gauge", ""),
            Of::Counter(_) => ("counter", "_total"),
            Of::Histogram(_) => ("histogram", ""),
            Of::Info(_) => ("gauge", "_info"),
        };
        let underscore = if unit.is_empty() { "" } else { "_" };
        Row {
            name: format!("{prefix}_{}{underscore}{unit}{suffix}", self.name),
            kind,
            unit,
            labels: self.labels,
            help: self.help,
        }
    }

    pub(super) fn write(
        &self,
        prefix: &str,
        scrape: &Scrape,
        to: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let unit = self.unit.map(|unit| match unit {
            Measure::Seconds => Unit::Seconds,
            Measure::Bytes => Unit::Bytes,
        });
        let kind = match self.of {
            Of::Gauge(_) => MetricType::Gauge,
            Of::Counter(_) => MetricType::Counter,
            Of::Histogram(_) => MetricType::Histogram,
            Of::Info(_) => MetricType::Info,
        };
        let name = format!("{prefix}_{}", self.name);
        let mut metric = to.encode_descriptor(&name, self.help, unit.as_ref(), kind)?;
        match self.of {
            Of::Gauge(samples) => each_of(samples(scrape), &mut metric, |to, value| {
                to.encode_gauge(&value)
            }),
            Of::Counter(samples) => each_of(samples(scrape), &mut metric, |to, value| {
                to.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
            }),
            Of::Histogram(samples) => samples(scrape)
                .into_iter()
                .try_for_each(|(labels, of)| of.encode(metric.encode_family(&labels)?)),
            Of::Info(labels) => metric.encode_info(&labels(scrape)),
        }
    }
}

impl Measure {
    const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

fn each_of(
    samples: Samples,
    to: &mut MetricEncoder<'_>,
    write: impl Fn(&mut MetricEncoder<'_>, f64) -> fmt::Result,
) -> fmt::Result {
    samples
        .into_iter()
        .try_for_each(|Sample { labels, value }| {
            // An empty set of labels is written as none.
            write(&mut to.encode_family(&labels)?, value)
        })
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
