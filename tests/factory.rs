//! The core's promises, from outside. A failing property prints the smallest case it found, seed included.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

#[path = "factory/blocks.rs"]
mod blocks;
#[path = "factory/books.rs"]
mod books;
#[path = "factory/flow.rs"]
mod flow;
#[path = "factory/telemetry.rs"]
mod telemetry;
#[path = "factory/time.rs"]
mod time;
#[path = "factory/world.rs"]
mod world;
