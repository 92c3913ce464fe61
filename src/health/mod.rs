//! The HTTP thread: health, readiness, metrics.

pub mod snapshot;
