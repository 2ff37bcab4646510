//! What clients may ask, beyond the main job.
