//! In which format metrics are answered, by the `Accept` of who asks.

use prometheus_client::encoding::prometheus_text;

/// A format of metrics as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The format that Prometheus has always read, 0.0.4.
    Text,
}

impl Format {
    /// What is answered to this `Accept`: OpenMetrics only to those who name it and do not prefer
    /// plain text. Whoever names neither gets plain text, as from other programs.
    pub fn of(accept: &str) -> Self {
        let (mut open_metrics, mut plain) = (0.0_f64, 0.0_f64);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = quality(parts);
            // OpenMetrics of a version that is not 1.0.0 is close enough to read.
            if kind.eq_ignore_ascii_case("application/openmetrics-text") {
                open_metrics = open_metrics.max(quality);
            } else if kind.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(quality);
            }
        }
        match open_metrics > 0.0 && open_metrics >= plain {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The weight among the parameters of a range; 1 without one, and 0 if it is no weight.
fn quality<'a>(parameters: impl Iterator<Item = &'a str>) -> f64 {
    let weights = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(weight) = weights.last() else {
        return 1.0;
    };
    let weight = weight.parse().ok();
    weight
        .filter(|weight| (0.0..=1.0).contains(weight))
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_name_it_and_do_not_prefer_plain_text() {
        const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("text/plain", Format::Text),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "Application/OpenMetrics-Text; version=1.0.0",
                Format::OpenMetrics,
            ),
            (PROMETHEUS, Format::OpenMetrics),
            (
                "application/openmetrics-text;q=0.2,text/plain;q=0.3",
                Format::Text,
            ),
            (
                "application/openmetrics-text;q=0.3,text/plain;q=0.3",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0.000", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
            ("application/openmetrics-text;q=7", Format::Text),
            ("application/openmetrics-text;q=NaN", Format::Text),
            (",;,=;q=;q", Format::Text),
            ("application/vnd.google.protobuf;q=0.7", Format::Text),
        ] {
            assert_eq!(Format::of(accept), format, "{accept}");
        }
    }
}
