//! A metric with a value for each set of labels, as it is at the time of a scrape.

use std::fmt::Error;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// One metric.
#[derive(Debug)]
pub(in crate::api) struct Table {
    kind: MetricType,
    rows: Vec<(Labels, Value)>,
}

#[derive(Debug)]
enum Value {
    Count(f64),
    Level(f64),
    Spans(Spans),
}

/// How long something took, in seconds.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Spans {
    /// Upper bounds, and how many fell between them; the last has none.
    pub(in crate::api) buckets: Vec<(f64, u64)>,
    /// The sum of all.
    pub(in crate::api) sum: f64,
}

impl Spans {
    /// Bounds in so many parts of a second; `counts` has one more than there are bounds.
    pub(in crate::api) fn new(
        bounds: &[u64],
        parts: u64,
        counts: impl Iterator<Item = u64>,
        sum: f64,
    ) -> Self {
        let bounds = bounds.iter().map(|bound| seconds(*bound, parts));
        let bounds = bounds.chain(std::iter::once(f64::INFINITY));
        Self {
            buckets: bounds.zip(counts).collect(),
            sum,
        }
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

/// `number` parts of a second, as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody looks at the seventeenth digit"
)]
pub(in crate::api) fn seconds(number: u64, parts: u64) -> f64 {
    number as f64 / parts as f64
}

impl Table {
    /// Counts, which only grow.
    pub(in crate::api) fn counts(rows: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        Self::of(MetricType::Counter, Value::Count, rows)
    }

    /// Levels, which come and go.
    pub(in crate::api) fn levels(rows: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        Self::of(MetricType::Gauge, Value::Level, rows)
    }

    /// Spans of time.
    pub(in crate::api) fn spans(rows: impl IntoIterator<Item = (Labels, Spans)>) -> Self {
        Self::of(MetricType::Histogram, Value::Spans, rows)
    }

    fn of<T>(
        kind: MetricType,
        value: fn(T) -> Value,
        rows: impl IntoIterator<Item = (Labels, T)>,
    ) -> Self {
        let rows = rows.into_iter();
        Self {
            kind,
            rows: rows.map(|(labels, it)| (labels, value(it))).collect(),
        }
    }
}

impl Value {
    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> Result<(), Error> {
        match self {
            Self::Count(count) => encoder.encode_counter::<NoLabelSet, _, f64>(count, None),
            Self::Level(level) => encoder.encode_gauge(level),
            Self::Spans(spans) => {
                let (sum, count) = (spans.sum, spans.count());
                encoder.encode_histogram::<NoLabelSet>(sum, count, &spans.buckets, None)
            }
        }
    }
}

impl TypedMetric for Table {}

impl EncodeMetric for Table {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        for (labels, value) in &self.rows {
            if labels.is_empty() {
                value.encode(&mut encoder)?;
            } else {
                value.encode(&mut encoder.encode_family(labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}
