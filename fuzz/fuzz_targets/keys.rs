//! See `windlass_fuzz::keys`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(keys);
