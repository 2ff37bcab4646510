//! How fast are the parts of the core that every task passes through? One program, so that `cargo bench -p windlass-core`
//! links once; a word behind `--` picks the measurements whose names contain it. Inputs come from fixed seeds.

mod balance;
mod keys;
mod kv;
mod records;
mod retry;
mod samples;
mod timers;
mod view;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // All of it is to be done within three minutes.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1_500))
        .sample_size(30)
        .nresamples(10_000)
        .configure_from_args();
    balance::measure(&mut criterion);
    keys::measure(&mut criterion);
    records::measure(&mut criterion);
    retry::measure(&mut criterion);
    timers::measure(&mut criterion);
    kv::measure(&mut criterion);
    view::measure(&mut criterion);
    criterion.final_summary();
}
