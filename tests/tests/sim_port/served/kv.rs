//! Reads, transactions and compaction.

use std::pin::Pin;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbResponseOp, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};
use windlass::core::ids::Revision;
use windlass::core::kv::Entry;
use windlass::core::store::{Answer, Call, Guard, Refusal, Step, Txn, TxnError, TxnOutcome, Write};

use super::member::Served;
use super::wire::{check_range, guard, key, odd, put, range, revision, stored};
use crate::world::{Lie, World};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

/// By what a read may be sorted, as etcd spells it.
const BY_MOD: i32 = 3;
const DESCENDING: i32 = 2;

#[tonic::async_trait]
impl PbKvService for Served {
    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<PbRangeStreamResponse, Status>> + Send>>;

    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            let now = world.kv.revision();
            let mut found = read(world, &asked)?;
            found.header = own.header(world, now);
            if world.lie == Some(Lie::StaleReads) && asked.revision == 0 && now > Revision(20) {
                let past = Revision(now.0 - 5);
                found = read_at(world, &asked, past)?;
                found.header = own.header(world, past);
            }
            Ok(found)
        })
        .await
    }

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(odd("a streamed read"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            let write = put(key(&asked.key)?, asked.value, asked.lease);
            let (_, at) = commit(world, vec![], vec![write])?;
            Ok(PbPutResponse {
                header: own.header(world, at),
                prev_kv: None,
            })
        })
        .await
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            let range = range(&asked.key, &asked.range_end)?;
            let deleted = world.kv.entries(&range).count();
            let (_, at) = commit(world, vec![], vec![Write::DeleteRange { range }])?;
            Ok(PbDeleteResponse {
                header: own.header(world, at),
                deleted: i64::try_from(deleted).unwrap_or(i64::MAX),
                prev_kvs: vec![],
            })
        })
        .await
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| txn(own, world, asked))
            .await
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            let at = revision(asked.revision);
            if at <= world.kv.compacted() {
                return Err(Status::out_of_range(COMPACTED));
            }
            if at > world.kv.revision() {
                return Err(Status::out_of_range(FUTURE));
            }
            drop(world.ask(Call::Compact { at }));
            let now = world.kv.revision();
            Ok(PbCompactionResponse {
                header: own.header(world, now),
            })
        })
        .await
    }
}

fn read(world: &World, asked: &PbRangeRequest) -> Result<PbRangeResponse, Status> {
    let now = world.kv.revision();
    let at = if asked.revision > 0 {
        revision(asked.revision)
    } else {
        now
    };
    if at > now {
        return Err(Status::out_of_range(FUTURE));
    }
    if at < world.kv.compacted() {
        return Err(Status::out_of_range(COMPACTED));
    }
    read_at(world, asked, at)
}

fn read_at(world: &World, asked: &PbRangeRequest, at: Revision) -> Result<PbRangeResponse, Status> {
    check_range(asked)?;
    let range = range(&asked.key, &asked.range_end)?;
    let state = world.ledger.state(at);
    let mut found: Vec<(&_, &Entry)> = state
        .iter()
        .filter(|(key, _)| range.contains(key))
        .collect();
    match (asked.sort_target, asked.sort_order) {
        (0, 0) => {}
        (BY_MOD, DESCENDING) => {
            found.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.found.modified));
        }
        _ => return Err(odd("such an order")),
    }
    let count = found.len();
    let limit = usize::try_from(asked.limit).unwrap_or(0);
    if limit > 0 {
        found.truncate(limit);
    }
    let more = found.len() < count;
    if asked.count_only {
        found.clear();
    }
    let kvs = found.into_iter().map(|(key, entry)| {
        let mut kv = stored(key, entry);
        if asked.keys_only {
            kv.value.clear();
        }
        kv
    });
    Ok(PbRangeResponse {
        header: None,
        kvs: kvs.collect(),
        more: more && !asked.count_only,
        count: i64::try_from(count).unwrap_or(i64::MAX),
    })
}

fn txn(own: &Served, world: &mut World, asked: PbTxnRequest) -> Result<PbTxnResponse, Status> {
    if !asked.failure.is_empty() {
        return Err(odd("something to do when the guards fail"));
    }
    let is_read = |op: &PbTxnRequestOp| matches!(op.request, Some(PbTxnOpRequest::RequestRange(_)));
    if asked.compare.is_empty() && asked.success.iter().all(is_read) {
        return read_many(own, world, &asked);
    }
    let guards = asked.compare.into_iter().map(guard);
    let guards = guards.collect::<Result<Vec<Guard>, Status>>()?;
    let writes = asked.success.into_iter().map(write);
    let writes = writes.collect::<Result<Vec<Write>, Status>>()?;
    let responses = writes.iter().map(done).collect();
    let before = world.kv.revision();
    if world.lie == Some(Lie::FalseCommits) && before.0.is_multiple_of(16) {
        return Ok(PbTxnResponse {
            header: own.header(world, before.next()),
            succeeded: true,
            responses,
        });
    }
    let (succeeded, at) = commit(world, guards, writes)?;
    let denied = world.lie == Some(Lie::FalseConflicts) && before.0.is_multiple_of(16);
    Ok(PbTxnResponse {
        header: own.header(world, at),
        succeeded: succeeded && !denied,
        responses: if succeeded { responses } else { vec![] },
    })
}

/// Reads at one revision, in one transaction.
fn read_many(own: &Served, world: &World, asked: &PbTxnRequest) -> Result<PbTxnResponse, Status> {
    let now = world.kv.revision();
    let mut responses = Vec::new();
    for op in &asked.success {
        let Some(PbTxnOpRequest::RequestRange(range)) = &op.request else {
            return Err(odd("reads and writes together"));
        };
        let found = read(world, range)?;
        responses.push(PbResponseOp {
            response: Some(PbTxnOpResponse::ResponseRange(found)),
        });
    }
    Ok(PbTxnResponse {
        header: own.header(world, now),
        succeeded: true,
        responses,
    })
}

fn write(op: PbTxnRequestOp) -> Result<Write, Status> {
    match op.request {
        Some(PbTxnOpRequest::RequestPut(asked)) => {
            Ok(put(key(&asked.key)?, asked.value, asked.lease))
        }
        Some(PbTxnOpRequest::RequestDeleteRange(asked)) if asked.range_end.is_empty() => {
            Ok(Write::Delete {
                key: key(&asked.key)?,
            })
        }
        Some(PbTxnOpRequest::RequestDeleteRange(asked)) => Ok(Write::DeleteRange {
            range: range(&asked.key, &asked.range_end)?,
        }),
        Some(PbTxnOpRequest::RequestRange(_) | PbTxnOpRequest::RequestTxn(_)) | None => {
            Err(odd("such a part of a transaction"))
        }
    }
}

fn done(write: &Write) -> PbResponseOp {
    let response = match write {
        Write::Put { .. } => PbTxnOpResponse::ResponsePut(PbPutResponse::default()),
        Write::Delete { .. } | Write::DeleteRange { .. } => {
            PbTxnOpResponse::ResponseDeleteRange(PbDeleteResponse::default())
        }
    };
    PbResponseOp {
        response: Some(response),
    }
}

/// Whether the guards held, and the revision of the answer.
fn commit(
    world: &mut World,
    guards: Vec<Guard>,
    writes: Vec<Write>,
) -> Result<(bool, Revision), Status> {
    let mut txn = Txn::default();
    if let Err((_, error)) = txn.push(Step::new(guards, writes)) {
        return Err(Status::invalid_argument(match error {
            TxnError::TooMany => "etcdserver: too many operations in txn request",
            TxnError::TooLarge => "etcdserver: request is too large",
            TxnError::WrittenTwice => "etcdserver: duplicate key given in txn request",
        }));
    }
    let Answer::Txn(outcome) = world.ask(Call::Commit(txn)) else {
        panic!("the store answers what it was asked");
    };
    match outcome {
        TxnOutcome::Committed { at } => Ok((true, at)),
        TxnOutcome::Conflict { at, .. } => Ok((false, at)),
        TxnOutcome::Refused(Refusal::LeaseGone) => {
            Err(Status::not_found("etcdserver: requested lease not found"))
        }
        TxnOutcome::Refused(Refusal::TooLarge) => {
            Err(Status::invalid_argument("etcdserver: request is too large"))
        }
        TxnOutcome::Refused(
            Refusal::Busy | Refusal::NoRoom | Refusal::Denied | Refusal::Invalid,
        ) => {
            panic!("the model refuses nothing else")
        }
        TxnOutcome::Unknown => Err(Status::resource_exhausted(
            "etcdserver: mvcc: database space exceeded",
        )),
    }
}
