//! The whole program on a cluster of three brokers: what the cluster may suffer, the groups of several instances, and the tick.
//!
//! `cargo test` runs each test in a short form; `MOKASIM_LONG=1`, which `make test-cluster` sets, in its full length.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../common/broker.rs"]
mod broker;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/wire_check.rs"]
mod wire_check;
#[path = "../kafka_program/world.rs"]
#[expect(dead_code, reason = "some of it is for one broker and the classic client")]
mod world;

// First by its name, so that it is started first: it alone runs beside the others, which wait for the one cluster.
mod clock_ticks;
mod faults;
mod groups;
mod three;
