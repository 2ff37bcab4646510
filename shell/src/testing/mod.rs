//! Tests of programs that use Windlass: [`run`] runs one handler purely, [`Windlass`] is a whole cluster in memory.

mod clock;
mod cluster;
mod run;

pub use self::cluster::Windlass;
pub use self::run::{Run, run};
