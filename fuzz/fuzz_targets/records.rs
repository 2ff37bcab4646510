//! See `windlass_fuzz::records`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(records);
