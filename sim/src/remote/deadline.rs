//! When it wants to be called again.

use super::*;

impl Remote {
    /// When it must be called again.
    pub fn deadline(&self) -> Option<Mono> {
        if self.exited {
            return None;
        }
        let soon = self.now.after(Duration::from_nanos(1));
        let mut all: Vec<Mono> = Vec::new();
        match &self.session {
            None if !self.is_asking(Call::Join) => all.push(self.join_at),
            None => {}
            Some(session) => {
                all.push(session.beat_at);
                if session.over {
                    let wedged = session.until.after(session.ttl / MARGIN_PART);
                    all.extend(Some(wedged).filter(|at| *at > self.now));
                } else {
                    all.push(session.until);
                    all.extend(
                        Some(self.fetch_at)
                            .filter(|_| self.leaving.is_none() && !self.is_asking(Call::Fetch)),
                    );
                    let reports = self
                        .held
                        .values()
                        .filter(|it| it.end.is_some() && !it.reporting);
                    all.extend(reports.map(|it| it.again));
                    let waits = self
                        .held
                        .values()
                        .filter(|it| it.run.is_none() && it.end.is_none());
                    all.extend(waits.map(|it| it.since.after(self.wait_max())));
                }
            }
        }
        let runs = self
            .held
            .values()
            .filter(|it| it.run.is_some() && it.stopping.is_none());
        all.extend(runs.filter_map(Held::late_at));
        if let Some(since) = self.leaving {
            let grace = since.after(self.config.drain_grace);
            let last = grace.after(self.config.ttl * 2);
            all.extend([grace, last].into_iter().filter(|at| *at > self.now));
        }
        all.into_iter().min().map(|at| at.max(soon))
    }
}
