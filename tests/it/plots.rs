//! The plots of the documents show the figures that are kept in `benches/figures.json`.

mod charts;
mod figures;
mod svg;

use std::{env, fs};

use figures::{Figures, Measured};

use super::tidy::root;

/// `UPDATE_DOCS=1`, or `just plots`, writes the plots of new figures.
#[test]
fn plots_show_the_measured_figures() {
    let figures = Figures::read(&read("benches/figures.json"));
    for (file, plot) in [
        ("docs/plots/throughput.svg", charts::throughput(&figures)),
        ("docs/plots/memory.svg", charts::memory(&figures)),
        ("docs/plots/latency.svg", charts::latency(&figures)),
    ] {
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(root().join(file), &plot).unwrap();
        }
        let is_current = fs::read_to_string(root().join(file)).is_ok_and(|kept| kept == plot);
        assert!(is_current, "{file} shows other figures: run `just plots`");
    }
}

#[test]
fn the_plotted_figures_are_the_documented_ones() {
    let figures = Figures::read(&read("benches/figures.json"));
    let document = read("benches/README.md");
    let of_rates = figures.throughput.iter().map(|row| {
        let Measured { text, .. } = &row.measured;
        (&row.command, format!("{text} ×"))
    });
    let of_latencies = figures.latency.iter().map(|row| {
        let [p50, p99] = [&row.measured.p50, &row.measured.p99].map(|one| &one.text);
        (&row.command, format!("{p50} ms p50, {p99} ms p99"))
    });
    let mut lost = Vec::new();
    for (command, text) in of_rates.chain(of_latencies) {
        let command = format!("`cargo bench --bench {command}`");
        // A row of the same program as the one before it says so instead of its command.
        let is_of = |line: &str| line.contains(&command) || line.contains("| the same |");
        let mut rows = document.lines().filter(|line| line.starts_with('|'));
        if !rows.any(|line| is_of(line) && line.contains(&text)) {
            lost.push(format!("{command}: {text}"));
        }
    }
    for row in &figures.memory {
        let texts: Vec<&str> = row.measured.iter().map(|one| &*one.text).collect();
        let text = format!("{} MiB", texts.join(", "));
        if !document.replace('\n', " ").contains(&text) {
            lost.push(format!("{}: {text}", row.figure));
        }
    }
    assert!(lost.is_empty(), "not in benches/README.md: {lost:#?}");
}

#[test]
fn a_plot_says_what_was_measured_and_escapes_it() {
    let figures = Figures::read(
        r#"{
            "machine": "a <small> one",
            "throughput": [
                {"figure": "a & b", "command": "x", "is": "time", "measured": "2 – 4", "target": 5}
            ],
            "memory": [
                {"figure": "m", "command": "x", "thousand_pods": [1, 2], "measured": ["3", "6"]}
            ],
            "latency": [
                {"figure": "l", "command": "x", "measured": {"p50": "1", "p99": "3"}, "target": 2}
            ]
        }"#,
    );
    let plot = charts::throughput(&figures);
    for part in ["a &amp; b", "0.25 – 0.50", "a &lt;small&gt; one"] {
        assert!(plot.contains(part), "{part}: {plot}");
    }
    let plot = charts::memory(&figures);
    // Two values, and the one of the legend.
    assert_eq!(plot.matches("<circle").count(), 3, "{plot}");
    let plot = charts::latency(&figures);
    assert!(
        plot.contains("p50 1 ms") && plot.contains("p99 3 ms"),
        "{plot}"
    );
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}
