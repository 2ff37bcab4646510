//! Changes that happen when the test says so.

use windlass::gateway::Gateway;
use windlass_core::gateway::{ChangesView, Reply, RequestId};
use windlass_core::ids::Revision;

/// What has changed, and who waits for more.
#[derive(Default)]
pub(crate) struct Changes {
    list: Vec<ChangesView>,
    waiting: Vec<(RequestId, Revision, Gateway)>,
    /// The oldest revision after which changes are known.
    known_from: Revision,
}

impl Changes {
    fn reached(&self) -> Revision {
        self.list.last().map_or(Revision(1), |it| it.revision)
    }

    /// Somebody asks what has changed, and is answered once there is something.
    pub(crate) fn ask(&mut self, id: RequestId, after: Option<Revision>, gateway: &Gateway) {
        match (after, after.and_then(|after| self.since(after))) {
            (None, _) => {
                let none = ChangesView::none(self.reached());
                gateway.reply(id, Reply::Changes(Box::new(none)));
            }
            (Some(_), Some(reply)) => gateway.reply(id, reply),
            (Some(after), None) => self.waiting.push((id, after, gateway.clone())),
        }
    }

    fn since(&self, after: Revision) -> Option<Reply> {
        if after < self.known_from {
            let at = self.reached();
            return Some(Reply::Missed { at });
        }
        let newer = self.list.iter().find(|it| it.revision > after)?;
        Some(Reply::Changes(Box::new(newer.clone())))
    }

    /// Something changes: whoever waits for it is told.
    pub(crate) fn happen(&mut self, changes: ChangesView) {
        self.list.push(changes);
        for (id, after, gateway) in std::mem::take(&mut self.waiting) {
            self.ask(id, Some(after), &gateway);
        }
    }

    /// What has changed so far is forgotten.
    pub(crate) fn forget(&mut self) {
        self.known_from = self.reached();
    }
}
