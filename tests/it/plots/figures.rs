//! The figures that are kept, and the ranges that their texts say.

use serde::Deserialize;

/// What the benches measured, as their document says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figures {
    /// Where it was measured.
    pub(super) machine: String,
    pub(super) throughput: Vec<Throughput>,
    pub(super) memory: Vec<Memory>,
    pub(super) latency: Vec<Latency>,
}

/// A ratio to the bare server or the lower bound.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throughput {
    pub(super) figure: String,
    /// The bench that measures it.
    pub(super) command: String,
    pub(super) is: Ratio,
    pub(super) measured: Measured,
    pub(super) target: f64,
}

/// What is compared: of times less is better, of rates more.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ratio {
    Time,
    Rate,
}

impl Ratio {
    /// The ratio of the rates.
    pub(super) fn rate(self, ratio: f64) -> f64 {
        match self {
            Self::Time => 1.0 / ratio,
            Self::Rate => ratio,
        }
    }
}

/// Resident memory in MiB, one value for each size of the cluster.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) figure: String,
    #[expect(dead_code, reason = "for whoever measures again")]
    pub(super) command: String,
    pub(super) thousand_pods: Vec<f64>,
    pub(super) measured: Vec<Measured>,
}

/// From an event of the source until the reducer has decoded it, in milliseconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Latency {
    pub(super) figure: String,
    pub(super) command: String,
    pub(super) measured: Quantiles,
    pub(super) target: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantiles {
    pub(super) p50: Measured,
    pub(super) p99: Measured,
}

/// One value, or the lowest and highest of several runs: `1.06`, `1.9 – 2.4`.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Measured {
    pub(super) text: String,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl TryFrom<String> for Measured {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (low, high) = text.split_once(" – ").unwrap_or((&text, &text));
        let (low, high) = (low.parse()?, high.parse()?);
        Ok(Self { text, low, high })
    }
}

impl Figures {
    pub(super) fn read(json: &str) -> Self {
        let figures: Self = serde_json::from_str(json).unwrap();
        let memory = figures.memory.iter();
        for row in memory {
            assert_eq!(
                row.thousand_pods.len(),
                row.measured.len(),
                "{}",
                row.figure
            );
        }
        figures
    }
}
