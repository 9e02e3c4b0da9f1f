//! Medians, and the table in which a bench says what it found.

use std::{
    fmt::{self, Display},
    fs,
    time::Duration,
};

/// Several measurements of one thing.
#[derive(Clone, Debug)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Of at least one measurement.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "nothing was measured");
        Self(values)
    }

    /// Of times, in seconds.
    pub fn of_times(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::new(times.into_iter().map(|time| time.as_secs_f64()))
    }

    /// The median; of an even number the lower one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest measurement that at least this share does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// Each measurement, changed in this way.
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self::new(self.0.iter().copied().map(change))
    }

    /// `median (min … max) unit`.
    pub fn show(&self, digits: usize, unit: &str) -> String {
        let [min, median, max] = [self.0[0], self.median(), self.max()];
        format!("{median:.digits$} ({min:.digits$} … {max:.digits$}) {unit}")
    }
}

/// A table of figures.
pub struct Report {
    bench: &'static str,
    rows: Vec<[String; COLUMNS.len()]>,
}

const COLUMNS: [&str; 6] = [
    "figure",
    "target",
    "measured",
    "reference",
    "cost",
    "result",
];

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// At most this, with this many digits and this unit.
    AtMost(f64, usize, &'static str),
    /// At least this.
    AtLeast(f64, usize, &'static str),
    /// Shown for information.
    Any,
}

/// One figure.
pub struct Row<'a> {
    /// What was measured.
    pub figure: &'a str,
    /// What it must be.
    pub target: Target,
    /// What counts against the target.
    pub value: f64,
    /// What was measured, as text.
    pub measured: String,
    /// The same of what the relay is held against, if there is anything: the bare server, the
    /// lower bound, a library.
    pub reference: String,
    /// What one event costs.
    pub cost: String,
}

impl Report {
    /// Says what is about to be measured, and how busy the machine is with other things.
    pub fn new(bench: &'static str) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("?");
        println!("cargo bench --bench {bench}    ({cores} cores, load before the start {load})");
        Self {
            bench,
            rows: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn row(&mut self, row: Row<'_>) {
        self.rows.push([
            row.figure.to_owned(),
            row.target.to_string(),
            row.measured,
            row.reference,
            row.cost,
            row.target.result(row.value).to_owned(),
        ]);
    }

    /// Prints the table.
    pub fn print(&self) {
        let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([COLUMNS[column].len()]).max().unwrap_or(0)
        });
        let line = |cells: [&str; COLUMNS.len()]| {
            let cells = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!(" {cell:width$} "));
            println!("|{}|", cells.collect::<Vec<_>>().join("|"));
        };
        line(COLUMNS);
        println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        for row in &self.rows {
            line(std::array::from_fn(|column| row[column].as_str()));
        }
        println!();
    }
}

impl Target {
    fn result(self, value: f64) -> &'static str {
        let reached = match self {
            Self::AtMost(limit, ..) => value <= limit,
            Self::AtLeast(limit, ..) => value >= limit,
            Self::Any => return "",
        };
        if reached { "reached" } else { "MISSED" }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit, digits, unit) => write!(f, "≤ {limit:.digits$}{unit}"),
            Self::AtLeast(limit, digits, unit) => write!(f, "≥ {limit:.digits$}{unit}"),
            Self::Any => Ok(()),
        }
    }
}
