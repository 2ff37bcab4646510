//! See `windlass_fuzz::server`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(server);
