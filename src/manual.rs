//! The man page and the shell completions, generated from the command line, the tables of exit codes and variables, and the
//! shipped configuration.

use crate::cli::Cli;
use crate::config;
use crate::error::Exit;
use crate::run;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use std::io::{self, Write};

/// Files that the program reads or writes.
const FILES: [(&str, &str); 7] = [
    ("config.toml", "the configuration, where --config and CONFIG_PATH name no other"),
    ("data/TOPIC.jsonl", "the spool: one record a line; data/TOPIC.NNNNNN.jsonl are rolled files, older ones first"),
    ("data/coffeemek.orders.new_lots.jsonl", "orders for a factory on the spool, appended a line each"),
    ("data/.position", "how far the orders file was read; data/.position.new while it is written"),
    ("data/.member", "under which id this instance last joined its consumer group; data/.member.new while it is written"),
    ("data/.lock", "held by the instance that runs on the folder"),
    ("simulator.log", "the log; simulator.log.1 and so on are older ones"),
];

/// Variables that are the surroundings' own and no settings.
const SURROUNDINGS: [(&str, &str); 6] = [
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "set by systemd: it is told when the factory is ready, that it ticks, and that it leaves",
    ),
    ("JOURNAL_STREAM", "set by systemd: where it names standard error, the log goes to the journal"),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "proxy on the way to the external API, and for which hosts there is none; lower case is read too",
    ),
    (
        "NO_COLOR, TERM, CLICOLOR, CLICOLOR_FORCE",
        "no colours in --help and in errors where NO_COLOR is set, TERM is dumb or CLICOLOR is 0; always with CLICOLOR_FORCE",
    ),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "certificates to trust instead of the system's"),
    ("COLUMNS", "the width of --help"),
];

/// Writes the man page, `mokasim(1)`.
///
/// # Errors
/// The writer's.
pub fn man(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    commands(&command).to_writer(out)?;
    configuration().to_writer(out)?;
    let variables = config::VARIABLES.map(|variable| (variable.name, variable.told()));
    let variables = variables.iter().map(|(name, meaning)| (*name, meaning.as_str()));
    table("ENVIRONMENT", variables.chain(SURROUNDINGS)).to_writer(out)?;
    table("FILES", FILES.iter().copied()).to_writer(out)?;
    table("SIGNALS", run::SIGNALS.iter().copied()).to_writer(out)?;
    in_flight().to_writer(out)?;
    let codes = Exit::TABLE.map(|(exit, meaning)| ((exit as u8).to_string(), meaning));
    table("EXIT STATUS", codes.iter().map(|(code, meaning)| (code.as_str(), *meaning))).to_writer(out)?;
    man.render_version_section(out)
}

/// Writes the completions for a shell.
pub fn completions(shell: clap_complete::Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut Cli::command(), "mokasim", out);
}

fn commands(command: &Command) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["COMMANDS"]);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        page.control("SS", [sub.get_name()]);
        page.text([roman(sub.get_about().map(ToString::to_string).unwrap_or_default())]);
        for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set()) {
            page.control("TP", []);
            page.text(heading(arg));
            page.text([roman(meaning(arg))]);
        }
        if let Some(after) = sub.get_after_help() {
            verbatim(&mut page, &after.to_string());
        }
    }
    page
}

/// `-h, --help`, `--config FILE`, `--demo [RATE]`, or the name of a value that stands alone.
fn heading(arg: &Arg) -> Vec<clap_mangen::roff::Inline> {
    let mut heading = Vec::new();
    if let Some(short) = arg.get_short() {
        heading.extend([bold(format!("-{short}")), roman(", ")]);
    }
    if let Some(long) = arg.get_long() {
        heading.push(bold(format!("--{long}")));
    }
    if arg.get_action().takes_values() {
        let names: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
        let optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
        let (open, close) = if optional { ("[", "]") } else { ("", "") };
        let space = if arg.is_positional() { "" } else { " " };
        heading.extend([roman(format!("{space}{open}")), italic(names.join(" ")), roman(close)]);
    }
    heading
}

/// The help of an argument, with its values where they are few and what it is where it is not given.
fn meaning(arg: &Arg) -> String {
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|_| arg.get_action().takes_values()).collect();
    for (index, value) in values.iter().enumerate() {
        meaning += if index == 0 { ": " } else { "; " };
        meaning += value.get_name();
        meaning += &value.get_help().map(|help| format!(" ({help})")).unwrap_or_default();
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        meaning += &format!(" [default: {}]", defaults.join(", "));
    }
    meaning
}

/// What a running factory takes of a file that has changed.
fn in_flight() -> Roff {
    let mut page = Roff::new();
    page.control("PP", []);
    page.text([roman(format!("The keys that can change in flight are {}.", config::IN_FLIGHT.join(", ")))]);
    page
}

/// The shipped file explains every key.
fn configuration() -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["CONFIGURATION"]);
    verbatim(&mut page, config::BUILT_IN);
    page
}

fn table<'a>(title: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) -> Roff {
    let mut page = Roff::new();
    page.control("SH", [title]);
    for (name, meaning) in rows {
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(meaning)]);
    }
    page
}

fn verbatim(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}
