//! See `windlass_fuzz::filter`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(filter);
