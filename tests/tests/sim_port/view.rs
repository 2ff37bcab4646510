//! Whether a watch tells the truth, all of it, and nothing twice.

use windlass::core::ids::Revision;
use windlass::core::keyspace::Range;
use windlass::core::store::{Item, ViewEvent};

use super::ledger::Ledger;

/// What one watch has told.
#[derive(Debug)]
pub(crate) struct View {
    range: Range,
    /// What it has reached; `None` before its first full read is complete.
    at: Option<Revision>,
    /// The parts of a full read that is not complete.
    loading: Option<(Revision, Vec<Item>)>,
}

impl View {
    pub(crate) fn new(range: Range) -> Self {
        Self {
            range,
            at: None,
            loading: None,
        }
    }

    /// How far it is, unless it is just reading everything.
    pub(crate) fn at(&self) -> Option<Revision> {
        self.loading.is_none().then_some(self.at).flatten()
    }

    pub(crate) fn on_event(&mut self, event: &ViewEvent, ledger: &Ledger) -> Result<(), String> {
        match event {
            ViewEvent::Reset { at, items, more } => self.on_reset(*at, items, *more, ledger),
            ViewEvent::Delta { after, at, changes } => {
                if self.loading.is_some() || self.at != Some(*after) {
                    return Err(format!(
                        "changes after {after}, but {:?} was reached",
                        self.at
                    ));
                }
                if at < after || *at > ledger.revision() {
                    return Err(format!("changes after {after} up to {at}"));
                }
                self.at = Some(*at);
                let expected = ledger.changes(&self.range, *after, *at);
                if *changes != expected {
                    return Err(format!(
                        "after {after} up to {at} it told {changes:?} instead of {expected:?}"
                    ));
                }
                Ok(())
            }
            ViewEvent::Lost => Err("the port heals its watches itself".to_owned()),
        }
    }

    fn on_reset(
        &mut self,
        at: Revision,
        items: &[Item],
        more: bool,
        ledger: &Ledger,
    ) -> Result<(), String> {
        if self.at.is_some_and(|reached| at < reached) || at > ledger.revision() {
            return Err(format!("a full read of {at} after {:?}", self.at));
        }
        let mut all = match self.loading.take() {
            Some((of, items)) if of == at => items,
            Some(_) | None => Vec::new(),
        };
        all.extend_from_slice(items);
        if more {
            self.loading = Some((at, all));
            return Ok(());
        }
        self.at = Some(at);
        let state = ledger.state(at);
        let expected = state
            .iter()
            .filter(|(key, _)| self.range.contains(key))
            .map(|(key, entry)| entry.item(key));
        if !expected.eq(all) {
            return Err(format!("a full read that differs from the store at {at}"));
        }
        Ok(())
    }
}
