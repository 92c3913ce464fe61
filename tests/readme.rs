//! The README tells the truth: its commands parse, and every flag, key, variable and exit code is in it.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use clap::{CommandFactory, Parser};
use mokasim::cli::Cli;
use mokasim::config::{BUILT_IN, VARIABLES};
use mokasim::error::Exit;

const README: &str = include_str!("../README.md");

/// The lines of the README's shell blocks that call the program.
fn commands() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).filter(|line| line.starts_with("mokasim ")).collect()
}

#[test]
fn every_command_of_the_readme_is_one() {
    assert!(commands().len() > 5);
    for command in commands() {
        let words = command.split('#').next().unwrap().split_whitespace();
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

#[test]
fn every_flag_is_in_the_readme() {
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(README.contains(&format!("mokasim {}", command.get_name())), "{}", command.get_name());
        for flag in command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "help") {
            assert!(README.contains(&format!("--{flag}")), "--{flag} of {}", command.get_name());
        }
    }
}

#[test]
fn every_key_variable_and_exit_code_is_in_the_readme() {
    // A key that is off by default stands in the file as a comment.
    let keys = BUILT_IN.lines().filter_map(|line| line.trim_start_matches("# ").split_once(" = "));
    for key in keys.map(|(key, _)| key).filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')) {
        assert!(README.contains(&format!("`{key}`")), "key {key}");
    }
    for variable in VARIABLES.map(|variable| variable.name) {
        assert!(README.contains(&format!("`{variable}`")), "variable {variable}");
    }
    for (exit, _) in Exit::TABLE {
        let code = exit as u8;
        assert!(
            README.contains(&format!("; {code} ")) || README.contains(&format!("\n{code} ")) || code == 0,
            "exit code {code}"
        );
    }
}

#[test]
fn what_make_run_shows_begins_as_the_program_does() {
    assert!(README.contains("Z [INFO] plants: Italia, Brasile, Vietnam; 26 machines, at 60x, simulated time starts at "));
}

#[test]
fn every_chapter_that_is_pointed_to_is_there() {
    let text = README.replace('\n', " ");
    for place in text.split("(see *").skip(1).map(|rest| rest.split('*').next().unwrap()) {
        assert!(README.lines().any(|line| line.trim_start_matches('#') == format!(" {place}")), "{place}");
    }
}
