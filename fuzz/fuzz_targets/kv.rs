//! See `windlass_fuzz::kv`.
#![cfg_attr(fuzzing, no_main)]

windlass_fuzz::target!(kv);
