//! What may be asked of a store, and what it may answer. Every store (etcd, the embedded one, the simulator's) speaks
//! exactly this.

mod call;
mod digest;
mod guard;
mod txn;

pub use self::call::{
    Answer, AuditAnswer, Call, Change, Item, LeaseAnswer, Query, ReadAnswer, StoreCall, Usage,
    ViewEvent,
};
pub use self::digest::{Digest, KeyHash};
pub use self::guard::{Found, Guard, GuardIx, Value, Write};
pub use self::txn::{
    Batch, BatchError, Disproved, Failed, OPS_MAX, Refusal, SEAL_BYTES_MAX, Step, TXN_BYTES_MAX,
    Txn, TxnError, TxnOutcome,
};
