//! The `mokasim` command.

fn main() {}
