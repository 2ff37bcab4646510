//! Where a list goes on: a text that means nothing to whoever passes it back.

use std::fmt;

use windlass_core::gateway::Order;
use windlass_core::ids::TaskId;

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Which order the list has.
    pub(super) order: Order,
    /// What follows this id comes next.
    pub(super) behind: TaskId,
}

impl Cursor {
    /// The place that `text` means in a list of this order, or of any. A forged one can only mean another place.
    pub(super) fn read(text: &str, order: Option<Order>) -> Result<Self, String> {
        let cursor = Self::parse(text)
            .ok_or_else(|| "is not a cursor that an earlier answer gave".to_owned())?;
        if order.is_some_and(|order| order != cursor.order) {
            return Err("belongs to a list in the other order".to_owned());
        }
        Ok(cursor)
    }

    fn parse(text: &str) -> Option<Self> {
        let (order, digits) = match text.split_at_checked(1)? {
            ("o", digits) => (Order::Oldest, digits),
            ("n", digits) => (Order::Newest, digits),
            _ => return None,
        };
        let is_spelled = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 32 || !digits.bytes().all(is_spelled) {
            return None;
        }
        let behind = TaskId::from_u128(u128::from_str_radix(digits, 16).ok()?);
        Some(Self { order, behind })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Oldest => "o",
            Order::Newest => "n",
        };
        write!(f, "{order}{:032x}", self.behind.as_u128())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_order_has_its_own_cursors() {
        let behind = TaskId::from_u128(7);
        let text = Cursor {
            order: Order::Newest,
            behind,
        }
        .to_string();
        assert_eq!(Cursor::read(&text, None).unwrap().order, Order::Newest);
        assert!(Cursor::read(&text, Some(Order::Newest)).is_ok());
        let refused = Cursor::read(&text, Some(Order::Oldest)).unwrap_err();
        assert!(refused.contains("other order"), "{refused}");
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_and_no_text_crashes_it(id in any::<u128>(), newest in any::<bool>(), text in any::<String>()) {
            let order = if newest { Order::Newest } else { Order::Oldest };
            let cursor = Cursor { order, behind: TaskId::from_u128(id) };
            prop_assert_eq!(Cursor::read(&cursor.to_string(), Some(order)), Ok(cursor));
            let _ = Cursor::read(&text, None);
        }
    }
}
