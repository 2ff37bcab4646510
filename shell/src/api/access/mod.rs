//! Who may do what: tokens with roles, the door that looks at them, and the gate before every route.
//!
//! What a route needs is said by the route table; nothing here knows a route, and nothing behind the gate asks again.

pub(super) mod audit;
mod door;
mod front;
mod gate;
mod keys;
mod role;
pub(super) mod session;
mod tokens;

pub use self::audit::Audit;
pub use self::door::Door;
pub(crate) use self::door::{Peer, TlsUsed, source_of};
pub use self::front::Front;
pub(crate) use self::gate::{Gate, pass};
pub use self::keys::Keys;
pub(crate) use self::role::Access;
pub use self::role::Role;
pub use self::tokens::TOKEN_PREFIX;
pub(crate) use self::tokens::{Tokens, check_name, new_token};

#[cfg(test)]
mod tests;
