//! A Kafka client for brokers from 0.11 to 4.x that never blocks: synchronous, polled, single-threaded.
//!
//! It imports nothing of the rest of the program and could be a crate of its own. Time is an argument everywhere. Only
//! [`driver`] knows sockets; all else is plain state that a test can drive byte by byte.
//!
//! ```text
//!    push(record) ──► producer                consumer ──► records, commits
//!                        │                        │
//!                        │ ready? send ──► ticket │      each polls the cluster: it may send to a target that is
//!                        ▼ next_completion ◄───── ▼      ready, and is handed the end of each request it sent
//!                   ┌───────────── cluster ─────────────┐
//!                   │ metadata · coordinator · back-off │
//!                   │   link: broker 1, Main            │
//!                   │   link: broker 1, Fetch    each a │
//!                   │   link: broker 2, Main connection │    frames, correlation ids, versions, SASL: bytes in, bytes out
//!                   └──────────────────┬────────────────┘
//!                                    driver                  sockets (mio), TLS (rustls), name look-up (a thread)
//! ```
//!
//! A loop turn is [`Client::receive`](client::Client::receive), the `poll` of producer and consumer,
//! [`Client::send`](client::Client::send), and [`Client::wait`](client::Client::wait).

pub mod admin;
pub mod backoff;
pub mod batch;
pub mod client;
pub mod cluster;
pub mod connection;
pub mod consumer;
pub mod create;
mod decode;
pub mod deflate;
pub mod driver;
pub mod error;
pub mod fetch;
pub mod fetched;
pub mod frame;
pub mod group;
pub mod inflate;
pub mod link;
mod log_api;
pub mod metadata;
pub mod murmur2;
pub mod pool;
pub mod producer;
pub mod records;
pub mod resolver;
#[cfg(test)]
mod sample;
pub mod sasl;
pub mod security;
pub mod settings;
pub mod tls;
pub mod told;
pub mod versions;
