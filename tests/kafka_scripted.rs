//! The native client against a scripted broker: every error code, broken answers, and a cut at every byte.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "scripted/consuming.rs"]
mod consuming;
#[path = "scripted/creating.rs"]
mod creating;
#[path = "scripted/membership.rs"]
mod membership;
#[path = "scripted/producing.rs"]
mod producing;
#[path = "scripted/recreating.rs"]
mod recreating;
mod scripted;
