//! Bugs of our own protocol: a guard dropped from each row of the life table, `Alive` where `Unchanged` is due, lanes,
//! sessions, views, and what machines must not forget.

super::bugs! {
    // Guards, row by row. The lane's guard, which every row has, is `P-lane-unchecked`.
    "P-registration-overwritten" Core("registration"): "a node registers over the key of a former life"
        breaks ["S3" "S16" "L1" "L2"] needs "a restart under the same id within the TTL, or two processes with one name";
    "P-adopt-lanes-unguarded" Core("lanes::adopt"): "a new life takes over its lanes without guarding what it read"
        breaks ["S10"] needs "a crash with a transaction on its way that lands between the new life's read and its registration (late originals, same id)";
    "P-offer-absent-unguarded" Harmless("a former offer ends with the node's key, in one revision"): "an offer does not guard that there is none"
        breaks [] needs "nothing";
    "P-offer-node-unguarded" Harmless("the offer's lease ends with the node's key, and the store refuses an ended lease"): "an offer does not guard its node"
        breaks [] needs "nothing";
    "P-withdraw-unguarded" Harmless("only one life of an offer exists while its worker lives, and the lane kills late originals"): "a withdrawal does not guard the offer"
        breaks [] needs "nothing";
    "P-beat-unguarded" Harmless("the report's lease ends with the node's key, and the store refuses an ended lease"): "a report does not guard the node's key"
        breaks [] needs "nothing";
    "P-submit-task-unguarded" Harmless("no id is drawn twice, and the lane kills duplicates"): "a submission does not guard that the task is new"
        breaks [] needs "nothing";
    "P-submit-unique-unguarded" Core("steps::submit"): "a submission does not guard its idempotency key"
        breaks ["S19" "S11"] needs "one key submitted twice with the same or with another body, one after the other or at the same time";
    "P-dispatch-entry-unguarded" Core("steps::dispatch"): "a dispatch does not guard its entry"
        breaks ["S3" "S1" "S2" "S11"] needs "two schedulers that try one entry (step-in, late news), or a cancel of a waiting task at the same time";
    "P-dispatch-entry-kept" Core("steps::dispatch"): "a dispatch leaves the entry where it is"
        breaks ["S11" "S1" "S3" "S2"] needs "one dispatch";
    "P-dispatch-offer-unguarded" Core("steps::dispatch"): "a dispatch does not guard the worker's offer"
        breaks ["S9" "L8" "S3" "S2"] needs "dispatches to a worker that drained, left or died meanwhile (late news): no claim may be created while its offer is gone";
    "P-submit-offer-unguarded" Core("steps::submit"): "a submission that gives its task to a worker does not guard the worker's offer"
        breaks ["S9" "L8" "S3" "S2"] needs "submissions while a worker drains, leaves or dies (late news)";
    "P-carried-payload-lost" Core("steps::first_claim"): "a claim that carries its task leaves the payload out"
        breaks ["S18" "S7"] needs "a task with a payload that is placed at once";
    "P-only-copy-dropped" Core("steps::set_down"): "a task whose only copy is in its claim is not written down when it goes back or is tried again"
        breaks ["S1"] needs "a task that was placed at once, and whose first attempt does not end it";
    "P-only-copy-not-kept" Core("steps::ended"): "a task whose only copy is in its claim is not written into its outcome"
        breaks ["S1"] needs "a task that was placed at once, and whose first attempt ends it";
    "P-moved-task-not-found" Core("gateway::decide::missed"): "a task that was in its claim only when the store was read, and is in no claim when the view has come there, is not looked for again"
        breaks ["S8"] needs "questions for tasks that end meanwhile";
    "P-what-must-wait-held-back" Core("server::flush"): "while slots come and go, a task that finds none is not sent at all"
        breaks ["L4" "L1"] needs "submissions for which there is no slot, until their requests time out";
    "P-dispatch-entry-alive" Harmless("an entry is never updated: its creation is its last write"): "a dispatch guards its entry `Alive`"
        breaks [] needs "nothing";
    "P-retry-claim-unguarded" Core("steps::retry"): "a failed attempt's retry does not guard its claim"
        breaks ["S1" "S2" "S3" "S11"] needs "as M-01, with failing attempts";
    "P-hand-back-claim-unguarded" Core("steps::hand_back"): "a hand-back does not guard its claim"
        breaks ["S1" "S2" "S3" "S11"] needs "as M-01, with a session that reopens, a drain, or claims that wait too long";
    "P-take-claim-unguarded" Core("steps::take::take"): "a lost worker's claim is taken without guarding the claim"
        breaks ["S1" "S2" "S5" "S9"] needs "as M-02";
    "P-take-registration-unguarded" Harmless("a life that a view without gaps has seen end never comes back; the guard is for mistakes in telling that"): "a claim is taken without guarding that its registration is gone"
        breaks [] needs "nothing";
    "P-silent-claim-unguarded" Core("steps::take::take"): "a silent worker's claim is taken without guarding the claim"
        breaks ["S1" "S2" "S5"] needs "the backstop at work (as M-23) while the attempt ends after all";
    "P-time-out-flag-unguarded" Core("steps::stop"): "a time-out's stop flag is written without guarding the claim"
        breaks ["S1" "S2" "S11"] needs "the backstop at work (as M-23) while the attempt ends after all: the flag makes the claim anew";
    "P-release-unguarded" Core("steps::release"): "a due task's release does not guard its delayed key"
        breaks ["S1" "S2" "S11"] needs "a cancel of a delayed task at its due time, or two schedulers releasing it (step-in, skewed clocks)";
    "P-release-alive" Harmless("a delayed key is never updated: its creation is its last write"): "a release guards its delayed key `Alive`"
        breaks [] needs "nothing";
    "P-cancel-waiting-unguarded" Core("steps::cancel_waiting"): "cancelling a waiting task does not guard its place"
        breaks ["S1" "S2" "S5" "S11"] needs "a cancel while the task is being dispatched or released (late news)";
    "P-cancel-running-unguarded" Core("steps::stop"): "cancelling a running task does not guard its claim"
        breaks ["S1" "S2" "S11"] needs "a cancel while the attempt ends or is taken (late news): the flag makes the claim anew";
    "P-progress-unguarded" Core("steps::progress"): "a progress report does not guard its claim"
        breaks ["S1" "S2" "S11"] needs "as M-01, with handlers that report progress";
    "P-rerun-outcome-unguarded" Core("steps::rerun"): "a rerun does not guard the outcome"
        breaks ["S1" "S2" "S3" "S10"] needs "two reruns of one failed or cancelled task at the same time, through one or two gateways";
    "P-rerun-dead-unguarded" Harmless("outcome and dead record come and go together, and the outcome is guarded"): "a rerun does not guard the dead record"
        breaks [] needs "nothing";
    "P-purge-task-unguarded" Core("server::ended::purge"): "the purge of a keyed task does not guard what was read of it"
        breaks ["S1" "S11"] needs "a keyed, cancelled task that is run again between the janitor's read and its purge; short retention";
    "P-fold-lane-unguarded" Core("server::gone::fold"): "folding does not guard the lanes that it removes"
        breaks ["S10"] needs "a late original of a node that is gone, landing between the janitor's read and its fold (folds are a minute apart)";
    "P-fold-node-unguarded" Core("server::gone::fold"): "folding does not guard that the lane's node is gone"
        breaks ["S10" "L1" "L4"] needs "a node that returns under its id while its lanes are folded: it finds them gone and exits as usurped";
    "P-forget-orders-unguarded" Core("server::gone::forget_orders"): "forgetting the orders to a node that is gone guards neither that it is gone nor the orders"
        breaks ["S8" "L8"] needs "a node that returns under its id and is ordered to drain while the janitor's step is on its way";
    "P-janitor-queue-unguarded" Harmless("the place in the line hangs on the lease of the node's key, and within one life its creation stays its fence"): "a scheduler queues for the janitor's lock over a key of its own"
        breaks [] needs "nothing";
    "P-fold-totals-unguarded" Harmless("only the janitor writes the folded totals, and it guards its lock"): "folding does not guard the folded totals"
        breaks [] needs "nothing";
    "P-configure-unguarded" Core("steps::node::same_as"): "a change of settings does not guard what it was made from"
        breaks ["S8"] needs "two changes of one queue at the same time (one pauses, one sets a strategy), both acknowledged: one is lost";
    // `Alive` where `Unchanged` is due: a flag that was set meanwhile is lost.
    "P-alive-for-unchanged-retry" Core("worker::record::step_of_failure"): "a retry guards its claim `Alive`"
        breaks ["S2" "S8" "L1"] needs "a cancel that is acknowledged while the attempt fails: the task must not start again";
    "P-alive-for-unchanged-hand-back" Core("worker::record::step_of"): "a hand-back guards its claim `Alive`"
        breaks ["S2" "S8" "L1"] needs "a cancel that is acknowledged while the claim is handed back (drain, reopened session)";
    "P-alive-for-unchanged-take" Core("steps::take::take"): "a lost worker's claim is taken under `Alive`"
        breaks ["S2" "S8" "L1"] needs "a cancel that is acknowledged while the claim is taken; two gateways, late news";
    "P-alive-for-unchanged-flag" Core("steps::stop"): "a stop flag is written under `Alive`"
        breaks ["S2" "S8"] needs "a cancel that is acknowledged while the backstop flags a time-out: the flag is overwritten";
    "P-alive-for-unchanged-progress" Core("worker::record::add_progress"): "progress is written under `Alive`"
        breaks ["S2" "S8" "L1"] needs "a cancel that is acknowledged while progress is written; handlers that report often";
    // Lanes.
    "P-lane-unchecked" Core("lanes::seal"): "transactions do not guard their lane"
        breaks ["S10" "S9" "S18" "S1"] needs "late originals and lost answers of transactions that were sent again";
    "P-late-original-spared" Core("lanes::not_applied"): "a conflict after a lost answer is final at once: a late copy is not made impossible"
        breaks ["S10" "S18" "S1" "S9"] needs "a request that arrives late, given up, sent again and in conflict, before the late copy lands";
    // Records of lanes are compared whole, so only a transaction that counts nothing could be mistaken; and whoever makes
    // one tells nobody before its view has passed the end of its own key.
    "P-life-stride-missing" Tested("lanes::adopt"): "a new life numbers its lanes on from the life before"
        breaks [] needs "a_new_lifes_adoption_is_not_taken_for_what_the_old_one_had_in_flight";
    "P-totals-kept-after-failure" Core("lanes::seal"): "what a transaction counts stays in the lane's totals though it failed"
        breaks ["S10"] needs "a conflict, then a later commit on the same lane";
    // Registration and session.
    "P-registration-inherited" Core("registration::on_read"): "a new life takes a key under its id for its own registration"
        breaks ["S3" "S9" "S7" "S16"] needs "a restart under the same id within the TTL, with claims held";
    "P-session-reopened-by-old-renewal" Core("session::expire"): "an answer to a renewal sent before the session's end reopens it, as if sent now"
        breaks ["S3" "S7"] needs "a pause beyond the TTL with a renewal's answer waiting; leases expired meanwhile";
    "P-session-margin-missing" Core("session::on_live"): "the session has no margin"
        breaks ["S3"] needs "a cut beyond the TTL with clock drift inside the margin, or handlers that take a while to stop";
    "P-handler-not-stopped-at-session-end" Core("worker::on_session"): "the session's end stops no handler"
        breaks ["S3"] needs "a cut or pause beyond the TTL while long handlers run, and a second worker";
    "P-wedged-handler-kept" Core("worker::on_wedged"): "a worker whose handler does not stop lives on without a session"
        breaks ["S3"] needs "a handler that ignores stops for longer than the margin, in a cut beyond the TTL, and a second worker";
    "P-starts-without-session" Core("worker::can_start"): "handlers are started though the session is over"
        breaks ["S3" "S7"] needs "a cut around the session's end while claims wait for slots, and slots that become free";
    // The worker.
    "P-view-frozen-starts" Core("worker::can_start"): "handlers are started though the view of the claims has a gap"
        breaks ["S7" "S3"] needs "a broken claims watch while claims wait for slots and are taken, cancelled or flagged";
    "P-stale-news-started" Core("worker::freshness::is_stale"): "handlers are started on news that are older than what the worker wrote itself"
        breaks ["S3" "S7"] needs "a mute watch of claims, for longer than a silent worker is given, that has its news in the end";
    "P-claim-of-former-life-inherited" Core("worker::claims::on_claim"): "a worker starts the claims of a former life of its id"
        breaks ["S3" "S7"] needs "a crash with claims held and a restart under the same id";
    "P-ended-claim-held-again" Core("worker::held::is_buried"): "older news bring back a claim whose end was committed"
        breaks ["S7" "S3"] needs "news of the claims that are later than the answers to transactions: a second start under one fence";
    "P-vanished-claims-kept" Core("worker::claims::on_claims_read"): "claims that a new full read does not show are kept"
        breaks ["S7" "S3"] needs "a broken claims watch while claims are taken (backstop, cancels); starts after the read";
    "P-new-claim-taken-for-old" Core("worker::claims::on_claim"): "a claim made anew at the same place is taken for the one before"
        breaks ["L1" "S7" "S2"] needs "a task that is handed back or taken and given to the same worker again, its deletion and creation in one piece of news or unseen";
    "P-old-run-ends-new-claim" Core("worker::attempts::on_run"): "an old handler's end counts for the new claim of the same task"
        breaks ["S6" "S5"] needs "a handler that ignores stops, its task given to the same worker again before it ends";
    "P-slot-freed-at-stop" Core("worker::run::len"): "a handler that was told to stop holds no slot any more"
        breaks ["S14"] needs "handlers that are slow to stop or ignore it, cancels or time-outs, and more claims waiting";
    "P-cancel-flag-ignored" Core("worker::held::learn"): "a worker does not notice a stop flag on a claim that it holds"
        breaks ["L1" "S8" "S2"] needs "a cancel of a running task with a long handler: it must stop within a bound";
    "P-cancel-flag-lost" Core("worker::record"): "a flagged attempt that fails or is handed back is not cancelled"
        breaks ["S2" "S8" "L1"] needs "an acknowledged cancel of a running task; the task must not start again";
    "P-cancel-after-time-out-ignored" Core("worker::held::learn"): "a worker that was told of a time-out does not heed a cancel any more"
        breaks ["S2"] needs "a cancel of an attempt that the backstop has flagged, and that is handed back or fails";
    "P-wait-handback-missing" Core("worker::flush"): "claims wait for a slot for ever"
        breaks ["L1" "L3"] needs "more claims than slots behind handlers that run very long; another worker is free";
    "P-hand-back-counted" Core("steps::hand_back"): "a hand-back counts as a loss"
        breaks ["S9" "S2"] needs "a hand-back (drain, more claims than slots); losses compared with the claims taken";
    "P-retries-not-counted" Core("worker::record::step_of_failure"): "a retry is not counted"
        breaks ["S9" "L1" "S2"] needs "a task that always fails";
    "P-retries-off-by-one" Core("retry::decide"): "a task gets one retry more than it may have"
        breaks ["S9"] needs "a task that always fails; retries compared with the task's maximum";
    "P-leave-with-claims" Core("worker::duty::leave_when_empty"): "a worker that drains leaves while it holds claims"
        breaks ["L8" "S9" "S3"] needs "a drain of a worker with running handlers: a graceful leave loses nothing";
    "P-drain-starts" Core("worker::duty::takes_tasks"): "a worker that was ordered to drain goes on taking tasks"
        breaks ["L8" "S8"] needs "a drain by order of a worker with a backlog: its offer must go, and its claims end";
    // The scheduler.
    "P-step-in-missing" Core("scheduler::ready::on_time"): "nobody steps in for a scheduler that leaves its tasks waiting"
        breaks ["L1" "L3" "L4"] needs "two schedulers, one of them alive by its lease and stuck: cut from the store one way, or paused again and again, to the end of the run";
    "P-orphans-left-to-first" Core("scheduler::upkeep::judge"): "nobody steps in for a scheduler that leaves orphaned claims"
        breaks ["L2" "L3"] needs "as `P-step-in-missing`, and a worker that dies";
    "P-stranger-taken-for-dead" Core("view::strangers::note_stranger"): "a worker of a later version is taken for a dead one"
        breaks ["L6" "S15" "S10" "L1"] needs "a rolling upgrade whose worker holds claims that schedulers of the version before see";
    "P-losses-never-spent" Core("steps::take::take"): "a task may lose workers without end"
        breaks ["S9" "L1"] needs "a task that kills its workers, or crash loops of workers, beyond the maximum of losses (10, or less by configuration)";
    "P-cancel-lost-with-worker" Core("steps::take::take"): "a cancelled task whose worker vanishes waits again"
        breaks ["S2" "S8"] needs "an acknowledged cancel of a running task whose worker dies before it stops";
    "P-cancel-flag-written-over" Core("scheduler::upkeep::overstays"): "a time-out flag is written over a cancel's"
        breaks ["S2" "S8"] needs "a cancel of a running attempt that overstays, and does not stop at once";
    "P-place-not-kept" Core("steps::take::take"): "a lost task waits again behind the others"
        breaks ["S12" "S2"] needs "a worker that dies in a backlog; the place of an entry compared with that of the task's claim";
    "P-slot-leaked-on-refusal" Core("scheduler::at_once::on_unplaced"): "a submission that was not applied keeps the slot of its worker"
        breaks ["L1" "L5"] needs "submissions that name a worker that left meanwhile, then work for every slot";
    "P-slot-leaked-on-conflict" Core("scheduler::plan::park"): "a dispatch that failed keeps its slot reserved"
        breaks ["L1" "L5"] needs "conflicts of dispatches (several schedulers, cancels), then work for every slot";
    "P-reservation-kept" Core("scheduler::unpark"): "a committed dispatch whose claim came and went unseen stays reserved"
        breaks ["L1"] needs "a claim that is made and ended within one full read or one piece of news (broken cluster watch), its task back in the queue";
    "P-dispatch-taken-for-later" Core("scheduler::plan::on_committed"): "the fate of a dispatch is taken for that of a later one of the same task"
        breaks ["L1" "S14"] needs "a dispatch whose answer is lost, its task handed back and placed again by the same scheduler: an assertion fails, or a slot is counted wrong";
    "P-spared-jobs-forgotten" Core("scheduler::plan::on_settled"): "steps that shared a transaction with a conflict are not done again"
        breaks ["L1" "L2" "L3"] needs "conflicts in transactions of several steps: two schedulers, cancels, workers that die with many claims";
    "P-orphan-forgotten-when-full" Core("scheduler::plan::plan_care"): "an orphaned claim that does not fit the transaction is forgotten"
        breaks ["L2" "L3" "L1"] needs "more than 40 claims lost at once, some of them cancelled or with their losses spent";
    "P-suspect-kept" Core("scheduler::fleet::trust"): "a worker whose offer was once found gone is never used again"
        breaks ["L1" "L5"] needs "a dispatch that meets a withdrawn or renewed offer (drain, restart under the same id), then work that only this worker can take";
    // The views.
    "P-gap-accepted" Core("view::feed::on_delta"): "news are taken though something between is missing"
        breaks ["S17" "S7"] needs "a delta that is lost without the watch being reported as lost";
    "P-old-watch-heard" Core("view::feed::on_event"): "news of a watch that was given up are taken"
        breaks ["S17"] needs "news of an old watch that arrive after its successor was asked for";
    "P-reads-mixed" Core("view::feed::on_reset"): "parts of two full reads are taken for one"
        breaks ["S17"] needs "full reads in several parts, broken off and begun anew at another revision";
    "P-older-read-taken" Core("view::feed::on_reset"): "a full read from before what was known replaces it"
        breaks ["S17" "S7" "S12"] needs "a store's member that lags when a watch is asked for anew";
    "P-progress-never-asked" Core("view::feed::want"): "nobody asks how far the watch is when a revision is awaited"
        breaks ["L1" "L7" "S8" "L4"] needs "a read or conflict at a revision that no event of the watched range will reach: a quiet store";
    "P-reconcile-never" Core("view::reconcile::on_time"): "nobody compares a view with the store"
        breaks ["S17" "L1" "L7"] needs "an event that is lost without a word, its key not written again, and a comparison after the next audit was due";
    "P-digest-ignores-deletes" Core("view::known::remove"): "the digest of a view keeps what was deleted"
        breaks ["S17"] needs "a delete, then an audit: what is known rightly is read anew, though no event was lost";
    "P-audit-any-revision" Core("view::reconcile::judge"): "an audit is compared with what the view holds by then, whatever its revision"
        breaks ["S17"] needs "news that arrive between an audit and its answer: what is known rightly is read anew";
    // The gateway.
    "P-ack-before-commit" Core("gateway::submit::fill"): "a submission is acknowledged when it is sent"
        breaks ["S1" "S8"] needs "a crash or a lost request between sending and commit";
    "P-spared-reported-accepted" Core("gateway::settle::on_settled"): "submissions that shared a transaction with a conflict are acknowledged"
        breaks ["S1" "S18"] needs "submissions in one transaction with a step in conflict (cancels, reruns, settings at the same time)";
    "P-group-refused-whole" Core("gateway::settle::on_settled"): "one refused task refuses all that shared its transaction"
        breaks ["S18"] needs "a transaction that the store refuses for one of its tasks (a smaller limit of the store); replies item by item";
    // Remote workers.
    "P-remote-stale-done" Core("gateway::remote::claim"): "what a remote worker says of an attempt is taken for its newest attempt"
        breaks ["S6" "S3" "S9"] needs "a remote worker that reports an attempt which it lost, while it has a later one of the same task";
    "P-remote-fetch-by-view" Core("gateway::on_read, gateway::remote::fetch::found"): "a fetch gives what the view shows, whatever it read, and does not wait for the view"
        breaks ["S7" "S3"] needs "a remote worker that ends an attempt and fetches through a gateway whose news are late";
    "P-remote-done-counted-again" Core("gateway::remote::done::gone"): "a report that comes again is counted again"
        breaks ["S10"] needs "a remote worker whose completion was recorded and whose answer was lost";
    // Changes.
    "P-changes-gap-hidden" Core("gateway::journal::restart"): "who follows changes is not told that the view was read anew in between"
        breaks ["S24"] needs "a client that follows changes through a gateway whose watch breaks while tasks move";
    // The janitor.
    "P-purge-by-creation" Core("server::ended::ended_before"): "tasks are purged by age since their creation"
        breaks ["S1" "S8"] needs "a task that ends long after it was created (delay, retries, outage) and is asked for within its retention";
    "P-purge-failed" Core("server::ended::ended_before"): "failed tasks are purged though their dead record waits for a person"
        breaks ["S11" "S1"] needs "a task that fails for good; short retention";
    "P-unique-freed-early" Core("server::ended::ended_before"): "keyed tasks are purged without waiting for their retention"
        breaks ["S19" "S1"] needs "a keyed task that has ended, with other tasks old enough to be looked at; its key or id used again within the retention";
    "P-drain-order-outlives" Core("server::gone::forget_orders"): "an order to drain stays when its node has gone"
        breaks ["L1"] needs "a drain by order, then a restart under the same id, and work that only this worker can take";
    // Room.
    "P-full-ignored" Core("gateway::is_full"): "new tasks are taken though the store's quota is nearly used up"
        breaks ["S23"] needs "a store with a small quota that fills with tasks, and submissions after that";
    "P-tight-keeps-all" Core("server::pressure::on_usage"): "a tight store keeps ended tasks for as long as there is room"
        breaks ["L4" "L1"] needs "a store with a small quota, long retention, and more tasks than it holds at a time";
    // Locks.
    "P-lock-two-holders" Core("lock::fence_of"): "every waiter of a lock is told that it holds it"
        breaks ["S15" "S10" "S4"] needs "two clients or handlers that take one lock";
    "P-lock-fences-shared" Core("gateway::advance"): "two waiters of a lock may share a transaction"
        breaks ["S4" "S15"] needs "two clients that take one lock through one gateway at the same time: equal fences";
    "P-lock-key-unleased" Core("gateway::locks::take"): "a waiter's key has no lease"
        breaks ["S16" "L10"] needs "a lock's holder that dies";
    "P-lock-kept-at-end" Core("worker::locks::removals"): "the end of an attempt does not remove its handler's keys in the lines of locks"
        breaks ["L10" "L1"] needs "a handler that holds a lock to its end, on a worker that lives on";
    "P-lock-told-too-early" Core("worker::lines::turn_of"): "a handler is told that it holds a lock as soon as it is in line"
        breaks ["S4" "S15"] needs "two handlers that take one lock at the same time";
    "P-lock-line-not-read" Core("gateway::locks::look_at_line"): "a lock is given by the view alone, without a look at the store's line"
        breaks ["S4" "S15"] needs "a gateway that loses the event of one that came before, and a client that takes the same lock there";
    "P-lock-line-not-read-by-worker" Core("worker::lines::turn_of"): "a handler is told that it holds a lock by the watch alone, without a whole read of the line"
        breaks ["S4" "S15" "L10"] needs "a worker that loses the event of one that came before in a line that a handler of it waits in";
    "P-lock-wait-kept" Core("worker::locks::give_up"): "a handler that waits for a lock no more is left in line"
        breaks ["L10" "L1"] needs "a handler that gives up waiting, or is stopped while it waits, on a worker that lives on";
    "P-lock-fences-shared-by-worker" Core("worker::locking::add_locks"): "two handlers' keys in one line may share a transaction"
        breaks ["S4" "S15"] needs "two handlers of one worker that ask for one lock at the same moment: equal fences";
    "P-lock-claim-unguarded" Core("steps::lock::get_in_line"): "a handler gets in line without guarding its attempt's claim"
        breaks ["L10" "L1"] needs "a handler that ends while its question is on its way, which lands after the record of its end";
    "P-lock-renewal-missing" Core("gateway::advance"): "a waiter's lease is not renewed while it waits"
        breaks ["L10"] needs "a client that waits for a lock for longer than its TTL: later ones overtake it";
}
