//! What a store does with the writes of the same tasks, in the same transactions, and nothing else: no watches, no reads,
//! no decisions. The tasks live the shortest life, in which none waits. The ceiling of [`super::run`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail};
use windlass_core::gateway::TaskSpec;
use windlass_core::ids::{Fence, Registration, Revision, TaskId};
use windlass_core::keyspace::{Key, LaneName, Place};
use windlass_core::record::{
    CarriedTask, ClaimRecord, Json, LaneRecord, Outcome, Record, TaskRecord, Totals, Version,
};
use windlass_core::rng::Rng;
use windlass_core::steps::{self, Ending, Recipient};
use windlass_core::store::{Answer, Batch, Call, Guard, Step, Txn, TxnOutcome, Write};
use windlass_core::time::Wall;

use super::asker::{Asker, revision};
use super::{Measured, Plan, Specs, cpu_us, ratio};
use crate::clock::{Clock, SystemClock};
use crate::host::{self, Store, peak_memory_bytes};

/// Steps of one transaction: as many as the product packs.
const STEPS: u64 = 63;

/// Transactions in flight: as many as a scheduler process and three workers have.
const LANES: u8 = 17;

/// Measures `plan` on `store`, which is called `name` in the result.
pub async fn limit(
    store: &Store,
    name: String,
    plan: &Plan,
    clock: SystemClock,
) -> anyhow::Result<Measured> {
    let worker = host::fresh_id();
    let mut setup = Lane::new(store, &worker, LANES).await?;
    let offer = Step::new(
        vec![],
        vec![Write::Put {
            key: Key::offer(&worker),
            value: spec_record(plan).encode(),
            lease: None,
        }],
    );
    let offered = setup.commit(vec![offer]).await?;
    let recipient = Recipient {
        worker,
        registration: Registration(offered),
        offer: offered,
    };
    let left = Arc::new(Mutex::new(plan.tasks));
    let revision_before = revision(store).await?;
    let (began, cpu_before) = (Instant::now(), cpu_us());
    let mut lanes = tokio::task::JoinSet::new();
    for index in 0..LANES {
        let lane = Lane::new(store, &recipient.worker, index).await?;
        let rng = Rng::new(u64::from(index) + 1);
        lanes.spawn(drive(
            lane,
            rng,
            recipient.clone(),
            plan.clone(),
            Arc::clone(&left),
            clock.clone(),
        ));
    }
    while let Some(done) = lanes.join_next().await {
        done.context("a lane died")??;
    }
    let seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let cpu = (cpu_us() - cpu_before) as f64;
    let transactions = revision(store).await?.0.saturating_sub(revision_before.0);
    Ok(Measured {
        what: "limit",
        store: name,
        tasks: plan.tasks,
        refused: 0,
        ends_unknown: 0,
        seconds,
        tasks_per_second: ratio(plan.tasks, seconds),
        submit_to_ack_ms: None,
        submit_to_start_ms: None,
        submit_to_end_ms: None,
        store_transactions_per_task: ratio(transactions, ratio(plan.tasks, 1.0)),
        cpu_us_per_task: cpu / ratio(plan.tasks, 1.0),
        peak_rss_bytes: peak_memory_bytes(),
        intervals: Vec::new(),
    })
}

/// Takes chunks of tasks through their whole lives until none is left.
async fn drive(
    mut lane: Lane,
    mut rng: Rng,
    to: Recipient,
    plan: Plan,
    left: Arc<Mutex<u64>>,
    clock: SystemClock,
) -> anyhow::Result<()> {
    let record = spec_record(&plan);
    loop {
        let count = {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            let count = (*left).min(STEPS);
            *left -= count;
            count
        };
        if count == 0 {
            return Ok(());
        }
        let wall = clock.now().wall;
        let places: Vec<Place> = (0..count)
            .map(|_| Place {
                priority: record.priority,
                timestamp: wall,
                task: TaskId::new(&mut rng, wall),
            })
            .collect();
        let submits = places.iter().map(|place| {
            let task = TaskRecord {
                created_at: wall,
                ..record.clone()
            };
            steps::submit(place.task, &task, None, Some((&to, wall)))
        });
        let fence = Fence(lane.commit(submits.collect()).await?);
        let claim = ClaimRecord {
            v: Version,
            carry: record.first_carry(),
            queue: record.queue.clone(),
            registration: to.registration,
            assigned_at: wall,
            stop: None,
            progress: None,
            task: CarriedTask::of(&record).map(Box::new),
        };
        let ending = Ending {
            outcome: Outcome::Completed(Json::null()),
            started_at: Some(wall),
            ended_at: wall,
        };
        let ends = places
            .iter()
            .map(|place| steps::end(&to.worker, *place, fence, &claim, ending.clone()));
        lane.commit(ends.collect()).await?;
    }
}

fn spec_record(plan: &Plan) -> TaskRecord {
    let TaskSpec {
        kind,
        queue,
        priority,
        name,
        payload,
        metadata,
        retries_max,
        retry,
        timeout,
        due: _,
        key: _,
    } = Specs::new(plan).nth(0);
    TaskRecord {
        v: Version,
        kind,
        queue,
        priority,
        name,
        payload,
        metadata,
        created_at: Wall::from_millis(0),
        due: None,
        retries_max,
        retry,
        timeout,
        unique: None,
    }
}

/// A lane as the machines have them: guarded and written by every transaction.
struct Lane {
    asker: Asker,
    key: Key,
    since: Revision,
    record: LaneRecord,
}

impl Lane {
    async fn new(
        store: &Store,
        worker: &windlass_core::ids::NodeId,
        index: u8,
    ) -> anyhow::Result<Self> {
        let key = Key::lane(worker, LaneName { part: 'b', index });
        let mut lane = Self {
            asker: Asker::new(store),
            key,
            since: Revision(0),
            record: LaneRecord::default(),
        };
        let mut txn = Txn::default();
        let write = Write::Put {
            key: lane.key.clone(),
            value: lane.record.encode(),
            lease: None,
        };
        txn.push(Step::new(vec![], vec![write]))
            .map_err(|(_, error)| error)?;
        lane.since = lane.apply(txn).await?;
        Ok(lane)
    }

    async fn apply(&mut self, txn: Txn) -> anyhow::Result<Revision> {
        let answer = self.asker.ask(Call::Commit(txn)).await?;
        if let Answer::Txn(TxnOutcome::Committed { at }) = answer {
            return Ok(at);
        }
        bail!("a transaction was not applied: {answer:?}")
    }

    /// Applies steps in one transaction.
    async fn commit(&mut self, steps: Vec<Step>) -> anyhow::Result<Revision> {
        let mut batch = Batch::default();
        for step in steps {
            batch.push((), step).map_err(|refused| refused.error)?;
        }
        self.record.number += 1;
        self.record.totals.add(&Totals {
            completed: 1,
            ..Totals::default()
        });
        let write = Write::Put {
            key: self.key.clone(),
            value: self.record.encode(),
            lease: None,
        };
        batch.seal(
            Guard::Unchanged {
                key: self.key.clone(),
                since: self.since,
            },
            write,
        );
        self.since = self.apply(batch.txn().clone()).await?;
        Ok(self.since)
    }
}
