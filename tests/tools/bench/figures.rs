//! Figures with their comparisons and targets, as tables and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// The results of one run.
#[derive(Debug)]
pub(crate) struct Results {
    sections: Vec<Section>,
}

#[derive(Debug)]
pub(crate) struct Section {
    title: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// One figure of the agent, in the unit's base (seconds, bytes, or plain).
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    unit: Unit,
    value: f64,
    other: Option<(String, f64)>,
    bar: Option<Bar>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Plain,
}

/// The target of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    /// At least this many times smaller than the figure it is compared with.
    TimesLess(f64),
}

impl Results {
    pub(crate) fn new(sections: Vec<Section>) -> Self {
        Self { sections }
    }

    pub(crate) fn missed(&self) -> usize {
        let figures = self.sections.iter().flat_map(|section| &section.figures);
        figures.filter(|figure| figure.is_met() == Some(false)).count()
    }

    pub(crate) fn markdown(&self) -> String {
        self.sections.iter().map(|section| format!("{section}\n")).collect::<String>().trim_end().to_owned()
            + "\n"
    }

    pub(crate) fn json(&self) -> Value {
        self.sections
            .iter()
            .map(|section| {
                json!({
                    "title": section.title,
                    "figures": section.figures.iter().map(Figure::json).collect::<Vec<_>>(),
                    "notes": section.notes,
                })
            })
            .collect()
    }
}

impl Section {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: title.to_owned(), figures: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { what: what.into(), unit, value, other: None, bar: None }
    }

    pub(crate) fn beside(self, other: &str, value: f64) -> Self {
        Self { other: Some((other.to_owned(), value)), ..self }
    }

    pub(crate) fn bar(self, bar: Bar) -> Self {
        Self { bar: Some(bar), ..self }
    }

    /// How many times smaller than the figure it is compared with.
    fn ratio(&self) -> Option<f64> {
        self.other.as_ref().map(|(_, other)| other / self.value)
    }

    fn is_met(&self) -> Option<bool> {
        match self.bar? {
            Bar::AtMost(most) => Some(self.value <= most),
            Bar::TimesLess(times) => self.ratio().map(|ratio| ratio >= times),
        }
    }

    fn json(&self) -> Value {
        let (other, other_value) = self.other.clone().unzip();
        let bar = self.bar.map(|bar| match bar {
            Bar::AtMost(most) => json!({ "at_most": most }),
            Bar::TimesLess(times) => json!({ "times_less": times }),
        });
        json!({
            "what": self.what,
            "unit": self.unit.name(),
            "value": self.value,
            "beside": other,
            "other_value": other_value,
            "ratio": self.ratio(),
            "bar": bar,
            "met": self.is_met(),
        })
    }

    fn row(&self) -> String {
        let other = self.other.as_ref();
        let other =
            other.map(|(name, value)| format!("{name}: {}", self.unit.show(*value))).unwrap_or_default();
        let ratio = self.ratio().map(|ratio| format!("{ratio:.1}")).unwrap_or_default();
        let bar = match self.bar {
            None => String::new(),
            Some(Bar::AtMost(most)) => format!("≤ {}", self.unit.show(most)),
            Some(Bar::TimesLess(times)) => format!("≥ {times} times less"),
        };
        let verdict = match self.is_met() {
            None => "",
            Some(true) => ": met",
            Some(false) => ": **missed**",
        };
        format!("| {} | {} | {other} | {ratio} | {bar}{verdict} |", self.what, self.unit.show(self.value))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "| what | agent | compared with | times less | target |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | --- |")?;
        for figure in &self.figures {
            writeln!(f, "{}", figure.row())?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
            Unit::Plain => "",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds if value.abs() < 1.0 => format!("{:.1} ms", value * 1e3),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Bytes if value.abs() >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / 1024.0 / 1024.0),
            Unit::Bytes if value.abs() >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::Plain if value.fract() == 0.0 => format!("{value:.0}"),
            Unit::Plain => format!("{value:.2}"),
        }
    }
}

/// The middle value, or the lower of the two middle values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{Bar, Figure, Unit, median};

    #[test]
    fn targets_are_met_at_the_limit() {
        let check = |value: f64, bar: Bar, expected: bool| {
            let figure = Figure::new("x", Unit::Plain, value).beside("y", 100.0).bar(bar);
            assert_eq!(figure.is_met(), Some(expected), "{figure:?}");
        };
        check(2.0, Bar::AtMost(2.0), true);
        check(2.1, Bar::AtMost(2.0), false);
        check(50.0, Bar::TimesLess(2.0), true);
        check(51.0, Bar::TimesLess(2.0), false);
    }

    #[test]
    fn median_is_one_of_the_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.0);
    }
}
