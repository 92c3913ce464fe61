//! `config.toml`: what it amounts to, and the line that each mistake gets.

mod kafka;
mod mutations;
mod problems;
mod stage_problems;
mod values;
mod world;

use mokasim::config::{self, Config, Overrides, Source};

type Loaded = Result<Config, Vec<String>>;

/// Loads `text` as `config.toml`, with variables and flags.
fn load_with(text: &str, variables: &[(&str, &str)], flags: &Overrides) -> Loaded {
    let source = Source { name: "config.toml".into(), text: text.into() };
    let lookup = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    config::load(Some(&source), &lookup, flags).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn load(text: &str) -> Loaded {
    load_with(text, &[], &Overrides::default())
}
