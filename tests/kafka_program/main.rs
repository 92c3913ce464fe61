//! The whole program on a real broker, with an independent client as producer and as consumer: the documentation's five
//! scenarios and what becomes of bad orders, restarts and full speed. Every record is checked against the wire's promises.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../common/broker.rs"]
mod broker;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/wire_check.rs"]
mod wire_check;

mod orders;
mod outages;
mod restarts;
mod scenarios;
mod twins;
mod world;
