//! Reads, at one revision and in pages.

use etcd_client::{GetOptions, Txn as RawTxn, TxnOp};
use tokio::time::Instant;
use windlass_core::ids::Revision;
use windlass_core::keyspace::{Key, Range};
use windlass_core::store::{AuditAnswer, Digest, Item, KeyHash, Query, ReadAnswer};
use windlass_core::view::AUDIT_MAX;

use super::fate::Fate;
use super::link::{Link, Repeat};
use super::wire::{ranges, raw_revision};

/// How many keys are asked for at once, at first.
const PAGE: u32 = 500;
/// How many later, where values may be as large as tasks: one page of the largest must not take all of etcd's memory.
const PAGE_MIXED_MAX: u32 = 2_000;
/// How many later, where values are small. For each page etcd walks over all keys that are left, to count them: a million
/// keys in pages of 500 took it two minutes.
const PAGE_MAX: u32 = 16_384;
/// How many when only their revisions are wanted.
const AUDIT_PAGE_MAX: u32 = 65_536;
/// How large pages become by that, in bytes, unless values become larger all at once.
const PAGE_BYTES: usize = 4 * 1_024 * 1_024;
/// How much larger the next page may be.
const PAGE_GROWTH: u32 = 4;

/// Answers the query.
pub(super) async fn read(link: &Link, query: &Query) -> ReadAnswer {
    let until = link.until();
    let read = match query {
        Query::Keys(keys) => read_keys(link, keys, until).await,
        Query::Range { range, limit } => read_range(link, range, *limit, until).await,
    };
    match read {
        Ok(part) => ReadAnswer::Items {
            at: part.at,
            items: part.items,
            more: part.more,
        },
        Err(fate) => {
            tracing::debug!(?fate, "etcd could not be read");
            ReadAnswer::Failed
        }
    }
}

/// Adds up what a range holds at one revision, of which nothing but keys and revisions is asked. An audit that history is
/// compacted away under fails: machines ask again after a while.
pub(super) async fn audit(link: &Link, range: &Range) -> AuditAnswer {
    match audited(link, range).await {
        Ok(held) => held,
        Err(fate) => {
            tracing::debug!(?fate, "etcd could not be audited");
            AuditAnswer::Failed
        }
    }
}

async fn audited(link: &Link, range: &Range) -> Result<AuditAnswer, Fate> {
    let mut pages = Pages::of_revisions(link, range);
    let mut digest = Digest::default();
    // By then nobody waits for it any more.
    let end = Instant::now() + AUDIT_MAX;
    loop {
        let until = link.until().min(end);
        let part = pages.next(link, u32::MAX, until).await?;
        for item in &part.items {
            digest.add(KeyHash::of(&item.key), item.found.modified);
        }
        if !part.more {
            return Ok(AuditAnswer::Held {
                at: part.at,
                digest,
            });
        }
    }
}

async fn read_keys(link: &Link, keys: &[Key], until: Instant) -> Result<Part, Fate> {
    if keys.is_empty() {
        // etcd answers a transaction without reads from whatever its member knows.
        return Ok(Part {
            at: newest(link, until).await?,
            items: Vec::new(),
            more: false,
        });
    }
    let known = link.epoch().highest();
    let read = link.attempt(until, Repeat::Always, || {
        let mut kv = link.kv();
        let gets: Vec<TxnOp> = keys
            .iter()
            .map(|key| TxnOp::get(link.prefix().raw(key), None))
            .collect();
        async move { kv.txn(RawTxn::new().and_then(gets)).await }
    });
    let answer = read.await?;
    let at = link.told(known, answer.header()).await?;
    let mut items: Vec<Item> = ranges(answer)
        .flat_map(|range| range.kvs)
        .filter_map(|kv| link.prefix().item(kv))
        .collect();
    items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    items.dedup_by(|a, b| a.key == b.key);
    Ok(Part {
        at,
        items,
        more: false,
    })
}

async fn read_range(link: &Link, range: &Range, limit: u32, until: Instant) -> Result<Part, Fate> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut pages = Pages::new(link, range);
    let mut items = Vec::new();
    loop {
        let left = u32::try_from(limit.saturating_sub(items.len())).unwrap_or(u32::MAX);
        let part = match pages.next(link, left, until).await {
            Ok(part) => part,
            Err(Fate::Compacted) => {
                items.clear();
                pages = Pages::new(link, range);
                continue;
            }
            Err(fate) => return Err(fate),
        };
        items.extend(part.items);
        if !part.more || items.len() >= limit {
            let more = part.more || items.len() > limit;
            items.truncate(limit);
            return Ok(Part {
                at: part.at,
                items,
                more,
            });
        }
    }
}

/// The newest revision, by a linearizable read.
pub(super) async fn newest(link: &Link, until: Instant) -> Result<Revision, Fate> {
    let known = link.epoch().highest();
    let answer = link.look(until).await?;
    link.told(known, answer.header()).await
}

/// What one request read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) at: Revision,
    pub(super) items: Vec<Item>,
    pub(super) more: bool,
}

/// Reads a range in parts, all at the revision of the first.
#[derive(Debug)]
pub(super) struct Pages {
    from: Vec<u8>,
    to: Vec<u8>,
    at: Option<Revision>,
    size: u32,
    size_max: u32,
    keys_only: bool,
}

impl Pages {
    pub(super) fn new(link: &Link, range: &Range) -> Self {
        Self {
            from: link.prefix().raw(&range.from),
            to: link.prefix().raw(&range.to),
            at: None,
            size: PAGE,
            size_max: PAGE_MIXED_MAX,
            keys_only: false,
        }
    }

    /// As [`Pages::new`], where values are known to be small.
    pub(super) fn of_small(link: &Link, range: &Range) -> Self {
        Self {
            size_max: PAGE_MAX,
            ..Self::new(link, range)
        }
    }

    /// As [`Pages::new`], without values.
    fn of_revisions(link: &Link, range: &Range) -> Self {
        Self {
            size_max: AUDIT_PAGE_MAX,
            keys_only: true,
            ..Self::new(link, range)
        }
    }

    /// The next part, of at most `limit` keys, but at least one. Fails as [`Fate::Compacted`] when history has moved
    /// past the revision of the first part: start over.
    pub(super) async fn next(
        &mut self,
        link: &Link,
        limit: u32,
        until: Instant,
    ) -> Result<Part, Fate> {
        loop {
            let size = self.size.min(limit).max(1);
            match self.request(link, size, until).await {
                Err(Fate::Oversized) if size > 1 => self.size = size / 2,
                other => return other,
            }
        }
    }

    async fn request(&mut self, link: &Link, size: u32, until: Instant) -> Result<Part, Fate> {
        let known = link.epoch().highest();
        let read = link.attempt(until, Repeat::Always, || {
            let mut kv = link.kv();
            let mut options = GetOptions::new()
                .with_range(self.to.as_slice())
                .with_limit(size.into());
            if self.keys_only {
                options = options.with_keys_only();
            }
            if let Some(at) = self.at {
                options = options.with_revision(raw_revision(at));
            }
            let from = self.from.as_slice();
            async move { kv.get(from, Some(options)).await }
        });
        let answer = read.await?;
        let told = link.told(known, answer.header()).await?;
        let at = self.at.unwrap_or(told);
        self.at = Some(at);
        let more = answer.more();
        let stored = answer.0.kvs;
        let bytes = stored.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        self.size = grown(self.size, stored.len(), bytes).min(self.size_max);
        if let Some(last) = stored.last() {
            self.from.clone_from(&last.key);
            self.from.push(0);
        }
        Ok(Part {
            at,
            items: stored
                .into_iter()
                .filter_map(|kv| link.prefix().item(kv))
                .collect(),
            more,
        })
    }
}

/// How many keys the next page may have, after one that was asked for `size` had `keys` of them.
fn grown(size: u32, keys: usize, bytes: usize) -> u32 {
    let each = (bytes / keys.max(1)).max(1);
    let fit = u32::try_from(PAGE_BYTES / each).unwrap_or(u32::MAX);
    fit.clamp(size, size.saturating_mul(PAGE_GROWTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_small_keys_are_read_in_few_pages() {
        let (mut left, mut size, mut pages) = (1_000_000, PAGE, 0);
        while left > 0 {
            let keys = left.min(size);
            left -= keys;
            size = grown(size, keys as usize, 250 * keys as usize).min(PAGE_MAX);
            pages += 1;
        }
        assert!(pages < 70, "{pages} pages");
    }

    #[test]
    fn pages_of_large_values_do_not_grow_and_an_empty_one_is_no_reason_to_stop() {
        assert_eq!(grown(PAGE, 500, 500 * 100_000), PAGE);
        assert_eq!(grown(PAGE, 500, 500 * 4_000), PAGE_BYTES as u32 / 4_000);
        assert_eq!(grown(PAGE, 0, 0), PAGE * PAGE_GROWTH);
    }
}
