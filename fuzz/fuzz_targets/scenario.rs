//! See `windlass_fuzz::scenario`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(scenario);
