//! What gateways tell it, and what follows.

use super::*;

impl Remote {
    pub(super) fn on_answer(
        &mut self,
        call: u64,
        reply: Option<Box<Reply>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.calls.remove(&call) else {
            return;
        };
        let (call, sent) = (asked.call, asked.sent);
        let told = match reply.map(|it| *it) {
            Some(Reply::Remote(told)) => Some(*told),
            // The task was purged, or is of another version.
            Some(Reply::NotFound) => Some(RemoteTold::Stale),
            Some(_) | None => None,
        };
        // One that says nothing, or cannot serve, may go on like that: another one may be better off.
        if told.is_none() {
            self.leave_gateway(asked.gateway);
        }
        if told == Some(RemoteTold::Over) {
            // Its leaving may be done before it is answered, and another call answered before that.
            let leaves = call == Call::Leave || self.is_asking(Call::Leave);
            return self.exit(if leaves { Exit::Drained } else { Exit::Deposed }, out);
        }
        match call {
            Call::Join => self.on_joined(sent, told, out),
            Call::Fetch => self.on_fetched(told, out),
            Call::Beat => self.on_beaten(sent, told, out),
            Call::Done(attempt) => self.on_done(attempt, told),
            Call::Progress => {}
            Call::Leave => {
                if told == Some(RemoteTold::Left) {
                    self.left = true;
                    self.exit(Exit::Drained, out);
                }
            }
        }
    }

    fn on_joined(&mut self, sent: Mono, told: Option<RemoteTold>, out: &mut Vec<Effect>) {
        self.join_at = self.now.after(AGAIN);
        if let Some(RemoteTold::Joined {
            worker,
            registration,
            ttl,
        }) = told
        {
            self.known = Some(registration.0);
            self.session = Some(Session {
                token: RemoteToken {
                    worker,
                    registration,
                    secret_hash: "secret".into(),
                },
                ttl,
                until: Mono::ZERO,
                over: true,
                beat_at: self.now,
                told: false,
            });
            self.renewed(sent, ttl, out);
        }
    }

    /// The session lasts from when the call was sent that renewed it.
    fn renewed(&mut self, sent: Mono, ttl: Duration, out: &mut Vec<Effect>) {
        let until = sent.after(ttl - ttl / MARGIN_PART);
        let Some(session) = &mut self.session else {
            return;
        };
        if until <= self.now || until <= session.until {
            return;
        }
        session.until = until;
        session.ttl = ttl;
        session.over = false;
        out.push(Effect::Fence { at: until });
    }

    fn on_beaten(&mut self, sent: Mono, told: Option<RemoteTold>, out: &mut Vec<Effect>) {
        let Some(RemoteTold::Beaten {
            ttl,
            stops,
            draining,
        }) = told
        else {
            if let Some(session) = &mut self.session {
                session.beat_at = session.beat_at.min(self.now.after(AGAIN));
            }
            return;
        };
        self.renewed(sent, ttl, out);
        let leaving = self.leaving.is_some_and(|since| sent >= since);
        if let Some(session) = &mut self.session {
            session.told |= leaving;
        }
        self.draining |= draining;
        self.heed(&stops, out);
    }

    fn on_fetched(&mut self, told: Option<RemoteTold>, out: &mut Vec<Effect>) {
        let Some(RemoteTold::Fetched {
            tasks,
            stops,
            draining,
            at,
        }) = told
        else {
            self.fetch_at = self.now.after(AGAIN);
            return;
        };
        self.fetch_at = self.now;
        self.known = self.known.max(Some(at));
        self.draining |= draining;
        self.heed(&stops, out);
        for start in tasks {
            let end = start.stop.map(|_| RemoteEnd::HandedBack);
            let attempt = RemoteAttempt {
                task: start.task,
                fence: start.fence,
            };
            self.held.entry(attempt).or_insert(Held {
                start,
                since: self.now,
                run: None,
                started: None,
                stopping: None,
                end,
                reporting: false,
                again: self.now,
            });
        }
    }

    fn heed(&mut self, stops: &[RemoteStop], out: &mut Vec<Effect>) {
        for stop in stops {
            self.stop(stop.attempt, stop.reason, out);
        }
    }

    fn on_done(&mut self, attempt: RemoteAttempt, told: Option<RemoteTold>) {
        let again = self.now.after(AGAIN);
        match told {
            Some(RemoteTold::Recorded | RemoteTold::Stale) => drop(self.held.remove(&attempt)),
            Some(_) | None => {
                if let Some(held) = self.held.get_mut(&attempt) {
                    held.reporting = false;
                    held.again = again;
                }
            }
        }
    }
}
