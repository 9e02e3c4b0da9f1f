//! Tables and colours for a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

/// What a cell says of how things stand, in addition to its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way, or to be known.
    Odd,
    /// A person should look at it.
    Bad,
}

/// Words of one tone.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// Rows under a heading; columns are as wide as they must be.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Odd => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
        }
    }

    /// These words in this tone.
    pub(super) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

impl Cell {
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, tone }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text.to_string())
    }
}

impl Table {
    /// A table with this heading.
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Self {
        let heading = heading.map(Cell::from);
        Self {
            rows: vec![heading.into()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// All of it, each row a line without blanks at its end.
    pub(super) fn write(&self, to: &mut String) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for row in &self.rows {
            let last = row.iter().rposition(|cell| !cell.text.is_empty());
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if last.is_none_or(|last| column > last) {
                    break;
                }
                let painted = cell.tone.paint(&cell.text);
                let rest = width.saturating_sub(cell.text.chars().count());
                let gap = if Some(column) == last { 0 } else { rest + 3 };
                // A `String` takes everything.
                let _ = write!(to, "{painted}{:gap$}", "");
            }
            to.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_whatever_its_colour() {
        let mut table = Table::new(["A", "LONG", "C"]);
        table.row(["ääää".into(), Cell::new(Tone::Good, "x"), "1".into()]);
        table.row(["b".into(), "y".into(), Cell::default()]);
        let mut text = String::new();
        table.write(&mut text);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "A      LONG   C\nääää   x      1\nb      y\n");
        assert!(text.contains("\u{1b}[32mx\u{1b}[0m"), "{text:?}");
    }
}
