//! The plots: throughput against a bare receiver, memory over pods, latency.

use super::{
    figures::{Figures, Measured},
    svg::{Anchor, FAINT, GRID, INK, SERIES, Svg, TARGET},
};

const WIDTH: f64 = 760.0;
/// Where bars begin, right of their names, and where the axis ends.
const BARS: [f64; 2] = [300.0, 680.0];
const DASHED: &str = "stroke-width=\"2\" stroke-dasharray=\"4 3\"";

/// The rate of the relay as a share of what a program does that only receives.
pub(super) fn throughput(figures: &Figures) -> String {
    const ROW: f64 = 34.0;
    let bottom = 76.0 + ROW * figures.throughput.len() as f64;
    let mut svg = Svg::new(
        WIDTH,
        bottom + 68.0,
        "Throughput against a bare receiver",
        "Rate, as a share of a program's that receives the same and drops it (1.0); more is better",
    );
    let rates = |measured: &Measured, rate: &dyn Fn(f64) -> f64| {
        let [one, other] = [measured.low, measured.high].map(rate);
        [one.min(other), one.max(other)]
    };
    let highest = figures.throughput.iter().map(|row| {
        let [_, high] = rates(&row.measured, &|ratio| row.is.rate(ratio));
        high
    });
    let axis = Axis::to(highest.fold(1.2, f64::max), 0.2, BARS);
    axis.draw_below(&mut svg, 70.0, bottom, 1, "");
    let at = axis.at(1.0);
    svg.line([at, 66.0], [at, bottom], INK, "stroke-width=\"1.5\"");
    for (index, row) in figures.throughput.iter().enumerate() {
        let top = 76.0 + ROW * index as f64;
        let [low, high] = rates(&row.measured, &|ratio| row.is.rate(ratio));
        svg.text(BARS[0] - 10.0, top + 16.0, Anchor::End, INK, &row.figure);
        let [from, to] = [low, high].map(|rate| axis.at(rate));
        svg.bar([BARS[0], top + 2.0], from - BARS[0], 20.0, SERIES[0]);
        svg.bar([from, top + 2.0], to - from, 20.0, SERIES[1]);
        let target = axis.at(row.is.rate(row.target));
        svg.line([target, top - 1.0], [target, top + 25.0], TARGET, DASHED);
        let text = match row.measured.low == row.measured.high {
            true => format!("{low:.2}"),
            false => format!("{low:.2} – {high:.2}"),
        };
        svg.text(to.max(target) + 8.0, top + 16.0, Anchor::Start, INK, &text);
    }
    let note = "Light: the range of several runs. Dashed: the least that is wanted.";
    legend(&mut svg, bottom + 40.0, figures, note);
    svg.finish()
}

/// Resident memory of a relay that has announced all pods.
pub(super) fn memory(figures: &Figures) -> String {
    const PLOT: [f64; 2] = [80.0, 300.0];
    const PODS: [f64; 2] = [70.0, 560.0];
    let mut svg = Svg::new(
        WIDTH,
        372.0,
        "Memory over pods",
        "Resident MiB of a relay that is quiet, two containers a pod; less is better",
    );
    let all = || figures.memory.iter();
    let pods = all().flat_map(|row| &row.thousand_pods);
    let pods = Axis::to(pods.fold(0.0, |most, one| most.max(*one)), 50.0, PODS);
    pods.draw_below(&mut svg, PLOT[0], PLOT[1], 0, "k pods");
    let mib = all().flat_map(|row| &row.measured);
    let most = mib.fold(0.0_f64, |most, one| most.max(one.high));
    let mib = Axis::to(most, 20.0, [PLOT[1], PLOT[0]]);
    for value in mib.ticks() {
        let y = mib.at(value);
        svg.line([PODS[0], y], [PODS[1], y], GRID, "");
        svg.text(
            PODS[0] - 8.0,
            y + 4.0,
            Anchor::End,
            FAINT,
            &format!("{value:.0}"),
        );
    }
    for (row, colour) in all().zip(SERIES.iter().cycle()) {
        let middle = |one: &Measured| f64::midpoint(one.low, one.high);
        let places: Vec<[f64; 2]> = row
            .thousand_pods
            .iter()
            .zip(&row.measured)
            .map(|(count, one)| [pods.at(*count), mib.at(middle(one))])
            .collect();
        for pair in places.windows(2) {
            svg.line(pair[0], pair[1], colour, "stroke-width=\"2\"");
        }
        for place in &places {
            svg.dot(*place, colour);
        }
    }
    for (index, (row, colour)) in all().zip(SERIES.iter().cycle()).enumerate() {
        let y = 100.0 + 40.0 * index as f64;
        svg.dot([590.0, y], colour);
        svg.text(602.0, y + 4.0, Anchor::Start, INK, &row.figure);
        let last = row.thousand_pods.last().zip(row.measured.last());
        let last = last.map(|(count, one)| format!("{} MiB at {count}k pods", one.text));
        let text = last.unwrap_or_default();
        svg.text(602.0, y + 20.0, Anchor::Start, FAINT, &text);
    }
    legend(&mut svg, 340.0, figures, "A dot is a measurement.");
    svg.finish()
}

/// From an event until the reducer has it.
pub(super) fn latency(figures: &Figures) -> String {
    const ROW: f64 = 56.0;
    let bottom = 76.0 + ROW * figures.latency.len() as f64;
    let mut svg = Svg::new(
        WIDTH,
        bottom + 68.0,
        "Latency of an event",
        "Milliseconds from the event until the reducer has decoded it; less is better",
    );
    let highest = figures
        .latency
        .iter()
        .map(|row| row.measured.p99.high.max(row.target));
    let axis = Axis::to(highest.fold(0.0, f64::max), 0.5, BARS);
    axis.draw_below(&mut svg, 70.0, bottom, 1, " ms");
    for (index, row) in figures.latency.iter().enumerate() {
        let top = 80.0 + ROW * index as f64;
        svg.text(BARS[0] - 10.0, top + 22.0, Anchor::End, INK, &row.figure);
        let quantiles = [("p50", &row.measured.p50), ("p99", &row.measured.p99)];
        for (line, (name, one)) in quantiles.into_iter().enumerate() {
            let y = top + 20.0 * line as f64;
            let to = axis.at(one.high);
            svg.bar([BARS[0], y], to - BARS[0], 16.0, SERIES[1 - line]);
            let text = format!("{name} {} ms", one.text);
            svg.text(to + 8.0, y + 12.0, Anchor::Start, INK, &text);
        }
        let target = axis.at(row.target);
        svg.line([target, top - 4.0], [target, top + 40.0], TARGET, DASHED);
    }
    let note = "Dashed: the most that is wanted of p99.";
    legend(&mut svg, bottom + 40.0, figures, note);
    svg.finish()
}

/// The last lines: how to read the plot, and where it was measured.
fn legend(svg: &mut Svg, y: f64, figures: &Figures, note: &str) {
    svg.text(20.0, y, Anchor::Start, FAINT, note);
    let text = format!("Measured on {}.", figures.machine);
    svg.text(20.0, y + 16.0, Anchor::Start, FAINT, &text);
}

/// From 0 to a multiple of the step, between two places in pixels.
struct Axis {
    steps: u32,
    step: f64,
    between: [f64; 2],
}

impl Axis {
    /// Long enough for this value.
    fn to(highest: f64, step: f64, between: [f64; 2]) -> Self {
        // A hair less, or 1.2 / 0.2 would be 7 steps.
        let steps = ((highest / step - 1e-9).ceil() as u32).max(1);
        Self {
            steps,
            step,
            between,
        }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let step = self.step;
        (0..=self.steps).map(move |index| f64::from(index) * step)
    }

    fn at(&self, value: f64) -> f64 {
        let [from, to] = self.between;
        from + (to - from) * value / (f64::from(self.steps) * self.step)
    }

    fn draw_below(&self, svg: &mut Svg, top: f64, bottom: f64, digits: usize, unit: &str) {
        for value in self.ticks() {
            let x = self.at(value);
            svg.line([x, top], [x, bottom], GRID, "");
            let text = format!("{value:.digits$}{unit}");
            svg.text(x, bottom + 16.0, Anchor::Middle, FAINT, &text);
        }
    }
}
