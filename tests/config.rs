//! `config.toml`: what it amounts to, and the line that each mistake gets.

use mokasim::config::{self, BUILT_IN, Config, Overrides, Source};

/// Loads `text` as `config.toml`, with variables.
fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let source = Source { name: "config.toml".into(), text: text.into() };
    let lookup = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    config::load(Some(&source), &lookup, &Overrides::default())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn load(text: &str) -> Result<Config, Vec<String>> {
    load_with(text, &[])
}

#[test]
fn the_shipped_file_is_the_default() {
    let shipped = load(BUILT_IN).unwrap();
    let built_in = config::load(None, &|_| None, &Overrides::default()).unwrap();
    assert_eq!(format!("{:#?}", built_in), format!("{shipped:#?}"));
    assert_eq!(format!("{:#?}", load("").unwrap()), format!("{shipped:#?}"));
    assert_eq!(shipped.plan.machines_total(), 26);
}
