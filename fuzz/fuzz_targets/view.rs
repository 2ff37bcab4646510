//! See `windlass_fuzz::view`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(view);
