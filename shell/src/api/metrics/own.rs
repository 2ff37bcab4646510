//! What the process is and takes, and what it measures of its own machine and store.

use prometheus_client::registry::Registry;

use super::table::{Spans, Table, seconds};
use crate::host::footprint;
use crate::instruments::{Instruments, METER_BOUNDS_US, Meter, StoreOp, StoreOutcome};
use crate::node::VERSION;

/// The spans of a meter.
pub(in crate::api) fn spans(meter: &Meter) -> Spans {
    let sum = meter.sum().as_secs_f64();
    Spans::new(&METER_BOUNDS_US, 1_000_000, meter.counts(), sum)
}

/// What a scheduler process measures of its machine and its store.
pub(super) fn register_instruments(registry: &mut Registry, instruments: &Instruments) {
    registry.register(
        "windlass_decision_seconds",
        "Time that the machine takes to decide on what has come",
        Table::spans([(vec![], spans(instruments.decisions()))]),
    );
    let calls = StoreOp::ALL.into_iter().flat_map(|op| {
        StoreOutcome::ALL.into_iter().map(move |outcome| {
            let labels = vec![
                ("op", op.as_str().to_owned()),
                ("outcome", outcome.as_str().to_owned()),
            ];
            (labels, spans(instruments.store(op, outcome)))
        })
    });
    // What never happened says nothing, but for what should.
    let told = calls.filter(|(labels, spans)| {
        labels[1].1 == StoreOutcome::Done.as_str() || spans.buckets.iter().any(|it| it.1 > 0)
    });
    registry.register(
        "windlass_store_request_seconds",
        "Time that the store takes to answer, by what was asked and how it was answered",
        Table::spans(told),
    );
    registry.register(
        "windlass_session_left_seconds",
        "How long this scheduler's session lasts if it is not renewed",
        Table::levels([(vec![], instruments.session_left().as_secs_f64())]),
    );
    registry.register(
        "windlass_view_revision",
        "The revision up to which this scheduler knows the store",
        Table::levels([(vec![], seconds(instruments.view_at().0, 1))]),
    );
}

/// What every process tells of itself.
pub(in crate::api) fn register_process(registry: &mut Registry) {
    registry.register(
        "windlass_build_info",
        "The build, as a label",
        Table::levels([(vec![("version", VERSION.to_owned())], 1.0)]),
    );
    let Some(footprint) = footprint() else {
        return;
    };
    registry.register(
        "process_cpu_seconds",
        "Time on processors",
        Table::counts([(vec![], footprint.cpu_seconds)]),
    );
    for (name, help, level) in [
        (
            "process_resident_memory_bytes",
            "Memory",
            seconds(footprint.memory_bytes, 1),
        ),
        (
            "process_open_fds",
            "Open file descriptors",
            seconds(footprint.open_fds, 1),
        ),
        (
            "process_start_time_seconds",
            "When it started, since the Unix epoch",
            footprint.started_at,
        ),
    ] {
        registry.register(name, help, Table::levels([(vec![], level)]));
    }
}
