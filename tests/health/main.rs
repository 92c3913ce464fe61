//! The HTTP thread, as its clients see it: pages, refusals, and what hostile clients cannot do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;
mod hostile;
mod pages;
mod requests;
