//! The reference's list, M-01 to M-36, as far as the features exist, and the canary.

super::bugs! {
    "M-01" Core("steps::end"): "an attempt's end does not guard its claim"
        breaks ["S5" "S6" "S2" "S1"]
        needs "a claim that is taken while its worker's session lives on (early expiry of the lease, drift beyond the margin, the backstop), with late news; or an end under way when the lease expires";
    "M-02" Core("steps::take::take"): "a lost worker's claim is taken without any guard, neither its claim's nor its registration's"
        breaks ["S5" "S2" "S1"]
        needs "a worker's completion and a scheduler's taking in one window (pause or cut around the TTL), or two schedulers";
    "M-03" Core("worker::record::step_of_failure"): "a retry is counted in memory when it is planned, not in the transaction"
        breaks ["S9" "S2"]
        needs "a conflict or a refusal of the transaction with the retry (a cancel flag, a spared step), so that it is planned again";
    "M-04" Impossible("a step is pushed whole into one transaction; `P-dispatch-entry-kept` is what half of it leaves"):
        "a task is assigned by two transactions"
        breaks ["S11" "S3"] needs "a crash between the two";
    "M-05" Impossible("a worker learns of a claim from a watch, and a watch tells only what is committed"):
        "a worker starts before its claim is committed"
        breaks ["S7"] needs "a dispatch that is refused";
    "M-06" Core("session::on_live"): "the session's end is counted from the answer to the renewal, not from its sending"
        breaks ["S3"]
        needs "renewals answered slower than the margin (TTL / 6), then a cut for longer than the TTL while handlers run";
    "M-07" Core("steps::node::beat"): "a node's report is written without its lease"
        breaks ["S16"] needs "nothing but a report; S16 looks at each node key's lease";
    "M-08" Core("lanes::overtaken"): "a transaction that landed though its answer was lost is taken for one that failed, and is done again under a new number"
        breaks ["S18" "S8" "S9" "S10"] needs "lost answers of transactions that were applied; replies compared with the store";
    "M-09" Core("lanes::judge"): "an unknown fate is taken for success"
        breaks ["S1" "S8"] needs "a lost request (not applied) whose caller is told `Unknown`; acknowledged ids looked up in the store";
    "M-10" Core("view::feed::on_event"): "a watch that was cancelled by a compaction is not asked for again"
        breaks ["S17" "L7" "L1"] needs "a watch that breaks: compaction under it, or a restart of the store";
    "M-11" Core("view::feed::on_delta"): "a resumed watch skips the first revision behind what is known"
        breaks ["S17" "L1"] needs "a delta that overlaps what is known (duplicates after a reconnect) and goes on behind it";
    "M-12" Core("view::feed::on_delta"): "events older than what is known are applied again"
        breaks ["S17" "S7"] needs "a delta that overlaps what is known (duplicates after a reconnect)";
    "M-13" Core("gateway::await_view"): "a decision does not wait until the view has reached what was read"
        breaks ["S8"] needs "delayed watches; a get straight after an acknowledged submission or cancellation";
    "M-14" Unbuilt("limits of concurrency and their permits"): "a permit is released twice"
        breaks ["S14"] needs "a completion that is repeated";
    "M-15" Core("server::ended::purge"): "an idempotency key outlives its task"
        breaks ["S19" "S11"] needs "a keyed task, a short retention, and the key submitted again after the purge (or unique keys checked for their tasks)";
    "M-16" Impossible("views have no gaps and nothing is reconciled; `P-step-in-missing` and `P-spared-jobs-forgotten` are what is left"):
        "the reconcile loop is off"
        breaks ["L3"] needs "a lost event";
    "M-17" Core("server::janitor::purge_run"): "a run of tasks is purged from a stale read, though something was written among them since"
        breaks ["S1" "S11"] needs "a cancelled or completed task that is run again between the janitor's read and its purge: short retention, reruns of old tasks, late originals of purges";
    "M-18" Core("retry::delay_after"): "the wait before a retry grows without its cap"
        breaks ["S13"] needs "several retries under a policy whose cap is reached (small caps), jitter off or many tasks";
    "M-19" Core("steps::submit"): "the sort key counts priorities the wrong way"
        breaks ["S12" "S2"] needs "a backlog of several priorities; S12 takes the priority from the task's record, not from the key";
    "M-20" Core("scheduler::ready::first"): "inside a priority the youngest task goes first"
        breaks ["S12"] needs "a backlog inside one priority and type, one scheduler, no faults";
    "M-21" Core("scheduler::upkeep::pop_due"): "whatever is due before the next look, a second ahead, is released now"
        breaks ["S13"] needs "delayed tasks and an idle scheduler; start compared with the due time, skew subtracted";
    "M-22" Core("steps::take::take"): "a vanished worker is not counted"
        breaks ["S9" "L1" "S2"] needs "a worker that dies while it holds a claim; losses compared with the claims taken";
    "M-23" Core("steps::stop"): "a silent worker's loss is counted when its attempt is flagged and again when it is taken"
        breaks ["S9" "S2"] needs "an attempt beyond its time-out whose worker is silent though its lease lives: a handler that ignores stops, or a cut of claims' news only";
    "M-24" Core("gateway::decide::cancel"): "a cancellation overwrites an outcome"
        breaks ["S5" "S2" "S10"] needs "a cancel of a task that has ended";
    "M-25" Core("server::janitor::lock_guard"): "the janitor goes on after it lost its lock"
        breaks ["S15" "S10"] needs "two schedulers, short retention, the holder paused beyond its TTL or its purge arriving late; purges counted";
    "M-26" Core("worker::attempts::start_ready"): "the fence that a handler gets is the worker's wall clock, not the claim's revision"
        breaks ["S4" "S6" "S7"] needs "a second attempt of a task, with wall clocks that differ or jump; the ledger compares fences as given to handlers";
    "M-27" Impossible("the store draws the ids of leases; `P-registration-inherited` is the like of it"): "a lease id is used again after a restart"
        breaks ["S3"] needs "a restart";
    "M-28" Core("session::on_answer"): "a renewal's answer that the lease is gone is taken for a renewal"
        breaks ["S3" "L1"] needs "early expiry of leases, or a cut beyond the TTL, while the news of the node's own key are late or lost";
    "M-29" Core("retry::call_backoff"): "repeated calls wait without jitter"
        breaks ["L6" "S22"] needs "many nodes whose calls are lost at the same time; the spread of their repetitions";
    "M-30" Core("server::janitor::advance"): "the janitor reads without a limit"
        breaks ["S22"] needs "more old tasks than a page (500 keys), or a bound on the limit that a read names";
    "M-31" Core("gateway::submit::on_accepted"): "an array is acknowledged as a whole when its first transaction was applied"
        breaks ["S18" "S1"] needs "arrays larger than a transaction (> 60 tasks), or with keyed items; loss, crash or refusal of a later part";
    "M-32" Unbuilt("namespaces and grants"): "a batch checks only the envelope's namespace"
        breaks ["S20"] needs "two namespaces";
    "M-33" Core("worker::attempts::start_ready"): "a worker starts one claim more than it has slots"
        breaks ["S14"] needs "more claims than slots: several schedulers, or reserve and step-in; running handlers counted";
    "M-34" Core("steps::ended"): "a task that fails for good leaves no record among the dead"
        breaks ["S11" "S1" "S2"] needs "a task that fails for good; each failed outcome needs its dead record";
    "M-35" Core("worker::record::step_of"): "a worker that leaves drops the claims that it did not start"
        breaks ["S1"] needs "a drain of a worker while claims wait for its slots";
    "M-36" Core("view::cluster::apply"): "a record that cannot be read stops the processing of the news behind it"
        breaks ["S17" "L1"] needs "a record of a later version, or garbage, in the watched range";
    "M-canary" Sim("every checker says that all is well"): "no invariant is ever found broken"
        breaks [] needs "any bug of this table that a run is known to show";
}
