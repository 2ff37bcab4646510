//! Node ids that mostly compare without a look at their text.

use crate::ids::NodeId;

/// An id with its first 16 bytes as a number: ids seldom agree in them, so a search follows few pointers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Padded with zero bytes, which no id has: so the order is that of the ids.
    head: u128,
    id: NodeId,
}

impl From<NodeId> for Name {
    fn from(id: NodeId) -> Self {
        let text = id.as_str().as_bytes();
        let length = text.len().min(16);
        let mut head = [0; 16];
        head[..length].copy_from_slice(&text[..length]);
        Self {
            head: u128::from_be_bytes(head),
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_order_like_ids(a in "[-.A-Za-z0-9_]{1,20}", b in "[-.a-c]{1,20}", length in 0..20_usize) {
            let near = format!("{}{b}", &a[..length.min(a.len())]);
            let (a, b): (NodeId, NodeId) = (a.parse().unwrap(), near.parse().unwrap());
            prop_assert_eq!(Name::from(a.clone()).cmp(&Name::from(b.clone())), a.cmp(&b));
        }
    }
}
