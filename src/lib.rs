//! MokaMetrics Simulator: a coffee-machine factory that feeds a Kafka pipeline.
//!
//! `run` alone wires a live factory together; `factory` is the pure core, `wire` the contract with the outside, `bus` where
//! records go and orders come from.

pub mod api;
pub mod bus;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod factory;
pub mod health;
pub mod logging;
pub mod manual;
pub mod orders;
pub mod probe;
pub mod run;
pub mod send;
pub mod topics;
pub mod units;
pub mod wire;
