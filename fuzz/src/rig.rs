//! One machine, one store, and the messages between them, none of which moves by itself.

use std::fmt::Debug;
use std::time::Duration;

use windlass_sim::core::ids::OpId;
use windlass_sim::core::keyspace::{Key, Range};
use windlass_sim::core::kv::{self, ClientId, Kv, Limits};
use windlass_sim::core::machine::Machine;
use windlass_sim::core::store::{Answer, Call, Item, Step, StoreCall, Txn, Value, Write};
use windlass_sim::core::time::{Millis, Mono, Now};

use crate::samples;

/// The machine's client number at the store, that of everybody else, and that of copies whose answers go nowhere.
const MACHINE: ClientId = ClientId(1);
const OTHERS: ClientId = ClientId(2);
const COPIES: ClientId = ClientId(3);

/// No input makes a machine want more than this at once, and one thing more for each client that has asked it something:
/// a few calls of each part, a transaction for each lane, and a start or stop for each of the few tasks here.
const EFFECTS_MAX: usize = 200;

/// What a rig must know of its machine.
pub(crate) trait Subject: Machine
where
    Self::Input: Clone + Debug,
    Self::Effect: Clone + Debug + PartialEq,
{
    fn elapsed() -> Self::Input;
    fn store(op: OpId, answer: Answer) -> Self::Input;
    fn call(effect: &Self::Effect) -> Option<&StoreCall>;
    /// Whether the input is a client's request.
    fn asks(input: &Self::Input) -> bool;
}

/// The machine and all that surrounds it.
pub(crate) struct Rig<M: Subject>
where
    M::Input: Clone + Debug,
    M::Effect: Clone + Debug + PartialEq,
{
    pub(crate) machine: M,
    pub(crate) kv: Kv,
    pub(crate) now: Now,
    /// Calls that have not reached the store.
    pub(crate) requests: Vec<StoreCall>,
    /// Answers and news that have not reached the machine.
    pub(crate) answers: Vec<(OpId, Answer)>,
    /// Every watch that was asked for.
    pub(crate) watches: Vec<OpId>,
    /// What the machine wanted since somebody looked, but for calls.
    pub(crate) wanted: Vec<M::Effect>,
    /// How many clients have asked something.
    asked: usize,
    /// Every input, and how the machine took it.
    tape: Vec<(Now, M::Input, Vec<M::Effect>)>,
}

impl<M: Subject> Rig<M>
where
    M::Input: Clone + Debug,
    M::Effect: Clone + Debug + PartialEq,
{
    pub(crate) fn new(machine: impl FnOnce(Now) -> M) -> Self {
        let limits = Limits {
            part_items_max: 3,
            ..Limits::default()
        };
        let now = Self::born();
        Self {
            machine: machine(now),
            kv: Kv::new(limits),
            now,
            requests: Vec::new(),
            answers: Vec::new(),
            watches: Vec::new(),
            wanted: Vec::new(),
            asked: 0,
            tape: Vec::new(),
        }
    }

    /// When every machine begins.
    pub(crate) fn born() -> Now {
        Now {
            mono: Mono::from_nanos(1_000),
            wall: samples::EPOCH,
        }
    }

    pub(crate) fn give(&mut self, input: M::Input) {
        self.asked += usize::from(M::asks(&input));
        let mut out = Vec::new();
        self.machine.handle(self.now, input.clone(), &mut out);
        let deadline = self.machine.deadline();
        assert!(
            deadline.is_none_or(|(at, _)| at > self.now.mono),
            "a deadline lies ahead"
        );
        assert!(
            out.len() <= EFFECTS_MAX + self.asked,
            "{} effects of {input:?}",
            out.len()
        );
        for effect in &out {
            match M::call(effect) {
                Some(call) => {
                    if let Call::Watch(_) = call.call {
                        self.watches.push(call.op);
                    }
                    self.requests.push(call.clone());
                }
                None => self.wanted.push(effect.clone()),
            }
        }
        self.tape.push((self.now, input, out));
    }

    /// Gives the same inputs to another machine of the same beginnings: it must want the same.
    pub(crate) fn replay(self, twin: impl FnOnce(Now) -> M) {
        let mut twin = twin(Self::born());
        for (now, input, effects) in self.tape {
            let mut out = Vec::new();
            twin.handle(now, input, &mut out);
            assert_eq!(effects, out, "the same inputs have the same effects");
        }
    }

    /// Lets time pass; what the machine wanted to do meanwhile, it does late.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.now.mono = self.now.mono.after(span);
        let millis = u64::try_from(span.as_millis()).expect("a short span");
        self.now.wall = self.now.wall.after(Millis::new(millis));
        self.ask_store(MACHINE, kv::Input::Elapsed);
        self.give(M::elapsed());
    }

    /// Lets the machine do what it wants to do within a span, not more often than so many times.
    pub(crate) fn wake(&mut self, span: Duration, times_max: usize) {
        let end = self.now.mono.after(span);
        for _ in 0..times_max {
            let Some((at, _)) = self.machine.deadline().filter(|(at, _)| *at <= end) else {
                return;
            };
            self.now.mono = at;
            self.give(M::elapsed());
        }
    }

    fn ask_store(&mut self, client: ClientId, input: kv::Input) {
        let mut out = Vec::new();
        self.kv.handle(self.now, input, &mut out);
        for effect in out {
            // News of a watch come with the input that caused them, whoever made it.
            if let kv::Effect::Answer {
                client: of,
                op,
                answer,
            } = effect
                && of == MACHINE
            {
                assert!(client == MACHINE || matches!(answer, Answer::View(_)));
                self.answers.push((op, answer));
            }
        }
    }

    fn call(client: ClientId, StoreCall { op, call }: StoreCall) -> kv::Input {
        kv::Input::Call { client, op, call }
    }

    /// The store takes the machine's call number `ix`.
    pub(crate) fn arrive(&mut self, ix: usize) {
        let call = self.requests.remove(ix);
        self.ask_store(MACHINE, Self::call(MACHINE, call));
    }

    /// A copy of a transaction arrives; the original stays on its way.
    pub(crate) fn arrive_copy(&mut self, ix: usize) {
        if let call @ StoreCall {
            call: Call::Commit(_),
            ..
        } = &self.requests[ix]
        {
            let input = Self::call(COPIES, call.clone());
            self.ask_store(COPIES, input);
        }
    }

    /// Every call arrives, in order.
    pub(crate) fn arrive_all(&mut self) {
        while !self.requests.is_empty() {
            self.arrive(0);
        }
    }

    /// The machine gets answer number `ix`; news of one watch come in order.
    pub(crate) fn deliver(&mut self, ix: usize) {
        let op = self.answers[ix].0;
        let first = self.answers.iter().position(|(other, _)| *other == op);
        let (op, answer) = self
            .answers
            .remove(first.expect("the answer itself, if no other"));
        self.give(M::store(op, answer));
    }

    /// The machine gets every answer.
    pub(crate) fn deliver_all(&mut self) {
        while !self.answers.is_empty() {
            self.deliver(0);
        }
    }

    /// Time passes in small pieces, with everything moving, until `until` holds.
    pub(crate) fn run_until(&mut self, until: impl Fn(&M) -> bool) {
        for _ in 0..1_000 {
            if until(&self.machine) {
                return;
            }
            self.pass(Duration::from_millis(50));
            self.wake(Duration::from_millis(1), 20);
            self.arrive_all();
            self.deliver_all();
        }
        panic!("it never came to that");
    }

    /// Somebody else's call.
    pub(crate) fn others(&mut self, call: Call) {
        let op = OpId(0);
        self.ask_store(OTHERS, Self::call(OTHERS, StoreCall { op, call }));
    }

    /// Another member of the store leads.
    pub(crate) fn change_leader(&mut self) {
        self.ask_store(OTHERS, kv::Input::LeaderChanged);
    }

    /// Somebody else's transaction.
    pub(crate) fn write(&mut self, writes: Vec<Write>) {
        let mut txn = Txn::default();
        // What is written twice is handed back.
        for write in writes {
            drop(txn.push(Step::new(Vec::new(), vec![write])));
        }
        self.others(Call::Commit(txn));
    }

    /// Somebody else writes a key.
    pub(crate) fn put(&mut self, key: Key, value: Value) {
        self.write(vec![Write::Put {
            key,
            value,
            lease: None,
        }]);
    }

    /// What lies in the store.
    pub(crate) fn items(&self, range: &Range) -> Vec<Item> {
        let entries = self.kv.entries(range);
        entries.map(|(key, entry)| entry.item(key)).collect()
    }
}
