//! A drawing in SVG: lines, bars, dots and texts on a light ground, as text that is the same for
//! the same drawing.

use std::fmt::Write as _;

/// Where a text stands, seen from its place.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

pub(super) const INK: &str = "#1f2937";
pub(super) const FAINT: &str = "#6b7280";
pub(super) const GRID: &str = "#e5e7eb";
pub(super) const TARGET: &str = "#b91c1c";
/// They differ in grey, too.
pub(super) const SERIES: [&str; 3] = ["#2563eb", "#93b4f5", "#d97706"];

/// Keeps a text legible where it stands on a line.
const HALO: &str = "paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"3\"";

/// A drawing; all measures are pixels, from the upper left corner.
pub(super) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    /// A ground with a title, which readers of the page hear, too.
    pub(super) fn new(width: f64, height: f64, title: &str, subtitle: &str) -> Self {
        let mut svg = Self {
            body: String::new(),
            width,
            height,
        };
        writeln!(svg.body, "<title>{}</title>", escaped(title)).unwrap();
        writeln!(
            svg.body,
            r##"<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>"##
        )
        .unwrap();
        svg.styled(
            20.0,
            30.0,
            Anchor::Start,
            INK,
            "font-size=\"16\" font-weight=\"600\"",
            title,
        );
        svg.text(20.0, 50.0, Anchor::Start, FAINT, subtitle);
        svg
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, fill: &str, text: &str) {
        self.styled(x, y, anchor, fill, "font-size=\"12\"", text);
    }

    fn styled(&mut self, x: f64, y: f64, anchor: Anchor, fill: &str, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{fill}" {style} {HALO}>{text}</text>"#
        )
        .unwrap();
    }

    pub(super) fn bar(&mut self, [x, y]: [f64; 2], width: f64, height: f64, fill: &str) {
        writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"/>"#
        )
        .unwrap();
    }

    pub(super) fn line(&mut self, from: [f64; 2], to: [f64; 2], stroke: &str, style: &str) {
        let ([x1, y1], [x2, y2]) = (from, to);
        writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{stroke}" {style}/>"#
        )
        .unwrap();
    }

    pub(super) fn dot(&mut self, [x, y]: [f64; 2], fill: &str) {
        writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{fill}"/>"#
        )
        .unwrap();
    }

    /// The file.
    pub(super) fn finish(self) -> String {
        let Self {
            body,
            width,
            height,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\">\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
