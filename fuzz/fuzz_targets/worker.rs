//! See `windlass_fuzz::worker`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(worker);
