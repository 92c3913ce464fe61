//! The command line.

use crate::config::{self, Speed};
use crate::error::{Exit, Failure};
use crate::logging;
use crate::units::{SimTime, Span};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// A coffee-machine factory that feeds a Kafka pipeline: three plants, 26 machines, one small binary.
#[derive(Clone, Debug, Parser)]
#[command(name = "mokasim", version, about, after_help = exit_codes(), max_term_width = 110)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the factory: orders in, telemetry and events out
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Send test orders
    #[command(after_help = SEND_EXAMPLES)]
    Send(SendArgs),
    /// Check the configuration and print plants, machines and memory
    Check(ConfigArgs),
    /// Ask a running factory how it is: exit 0 healthy, 1 degraded or unhealthy, 69 not there
    Health(HealthArgs),
    /// Create the configured topics on a Kafka broker, or list them as it has them
    Topics(TopicsArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

const RUN_EXAMPLES: &str = "\
Examples:
  mokasim run --demo --speed 60                        watch a factory work; records go to ./data
  mokasim run --broker localhost:9092                  orders from Kafka, records to Kafka
  mokasim run --orders lots.jsonl --speed max --until-idle
                                                       make these lots, as fast as can be, and leave
  mokasim run --demo --speed max --start 2026-01-01T00:00:00Z --duration 30d
                                                       a month of history in seconds";

const SEND_EXAMPLES: &str = "\
Examples:
  mokasim send --mode batch --count 5                  five orders into the spool ./data
  mokasim send --mode continuous --rate 2              two orders a minute until Ctrl-C
  mokasim send --broker localhost:9092 --mode continuous --rate 5 --duration 10";

/// The exit codes, for the end of `--help`.
fn exit_codes() -> String {
    let rows = Exit::TABLE.map(|(exit, meaning)| format!("  {:>2}  {meaning}", exit as u8));
    format!("Exit codes:\n{}", rows.join("\n"))
}

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file [env: CONFIG_PATH; default: config.toml if there is one, else what is built in]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `mokasim run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Kafka broker, instead of kafka.bootstrap_servers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = config::server)]
    pub broker: Vec<String>,
    /// Folder of the spool, instead of spool.dir; without --broker, the spool is used whatever the configuration says
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Play this plant alone, in a consumer group of its own, GROUP_ID-NAME; orders for other plants are left to other instances
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// Simulated seconds a second, or max: as fast as the bus takes the records
    #[arg(long, value_name = "X|max")]
    pub speed: Option<Speed>,
    /// Root of every draw: the same seed, start and orders give the same records
    #[arg(long, value_name = "N", value_parser = parse_seed)]
    pub seed: Option<u64>,
    /// Where simulated time begins [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = parse_start)]
    pub start: Option<SimTime>,
    /// Length of a tick, from 1 to 1000 milliseconds
    #[arg(long, value_name = "MS", value_parser = config::tick)]
    pub tick: Option<Duration>,
    /// Feed the factory a trickle of made-up orders [default rate: what keeps it four fifths busy]
    #[arg(long, value_name = "LOTS_PER_MIN", num_args = 0..=1, value_parser = parse_rate, conflicts_with = "orders")]
    pub demo: Option<Option<f64>>,
    /// Read orders from a file of JSON lines (- for standard input) instead of the topic
    #[arg(long, value_name = "FILE")]
    pub orders: Option<String>,
    /// Leave once every order read has completed and every record is acknowledged
    #[arg(long)]
    pub until_idle: bool,
    /// Leave after so much simulated time, such as 90s, 8h or 30d
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub duration: Option<Span>,
    /// Level of the log, in the file and on the terminal
    #[arg(long, value_name = "L", value_parser = level_parser(), ignore_case = true)]
    pub log_level: Option<log::LevelFilter>,
    /// Where the log goes
    #[arg(long, value_enum, default_value_t)]
    pub log_target: logging::Target,
}

/// `mokasim send`
#[derive(Clone, Debug, Args)]
pub struct SendArgs {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigArgs,
    /// All at once, or so many a minute
    #[arg(long, value_enum, default_value_t = Mode::Batch)]
    pub mode: Mode,
    /// Orders in a batch
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub count: u64,
    /// Orders a minute
    #[arg(long, value_name = "PER_MIN", default_value_t = 2.0, value_parser = parse_rate)]
    pub rate: f64,
    /// Minutes to go on for [default: until Ctrl-C]
    #[arg(long, value_name = "MIN", value_parser = parse_minutes)]
    pub duration: Option<Duration>,
    /// Kafka broker, instead of kafka.bootstrap_servers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = config::server, conflicts_with = "data")]
    pub broker: Vec<String>,
    /// Folder of the spool, instead of a broker
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Root of the draws: the same seed makes the same orders
    #[arg(long, value_name = "N", value_parser = parse_seed)]
    pub seed: Option<u64>,
}

/// `mokasim health`
#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The page to ask [default: /health on this machine, at the configured port]
    #[arg(long, value_name = "URL", value_parser = config::page)]
    pub url: Option<String>,
}

/// `mokasim topics`
#[derive(Clone, Debug, Args)]
pub struct TopicsArgs {
    /// Where the configuration is
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What to do
    #[arg(value_name = "create|list", value_enum)]
    pub action: TopicsAction,
    /// Partitions of each topic that is created: so many instances can share its work [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Option<i32>,
    /// Kafka broker, instead of kafka.bootstrap_servers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = config::server)]
    pub broker: Vec<String>,
}

/// What is done with topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TopicsAction {
    /// Create those that are not there
    Create,
    /// Show partitions, replicas and how long records are kept
    List,
}

/// How orders are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// `--count` orders at once
    Batch,
    /// `--rate` orders a minute
    Continuous,
}

impl Cli {
    /// Reads the command line. Help and version go to standard output and are no failure.
    ///
    /// # Errors
    /// The command line is wrong; the message is clap's, with the usage.
    pub fn read() -> Result<Option<Self>, Failure> {
        Self::try_parse().map(Some).or_else(|error| {
            if error.use_stderr() {
                return Err(Failure::new(Exit::Usage, error.render().to_string().trim_end()));
            }
            // A reader that has closed the pipe has seen enough.
            let _closed_pipe = error.print();
            Ok(None)
        })
    }
}

fn parse_start(text: &str) -> Result<SimTime, String> {
    crate::wire::parse_rfc3339(text).ok_or_else(|| "expected an instant such as 2026-01-31T08:00:00Z".to_owned())
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

/// Names, so that help and completions show them.
fn level_parser() -> impl TypedValueParser<Value = log::LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|name| name.parse::<log::LevelFilter>())
}

fn parse_span(text: &str) -> Result<Span, String> {
    let duration =
        humantime::parse_duration(text).map_err(|_| "expected a length of time such as 90s, 8h or 30d".to_owned())?;
    match i64::try_from(duration.as_millis()) {
        Ok(ms) if (1..=SPAN_MS_MAX).contains(&ms) => Ok(Span(ms)),
        _ => Err("expected from 1ms to 100years".to_owned()),
    }
}

/// A hundred years: the end of a run stays within what RFC 3339 can write.
const SPAN_MS_MAX: i64 = 100 * 366 * 86_400_000;

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected lots a minute, from 0.001 to 100000".to_owned()),
    }
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(minutes) if (0.001..=1_000_000.0).contains(&minutes) => Ok(Duration::from_secs_f64(minutes * 60.0)),
        _ => Err("expected minutes, from 0.001 to 1000000".to_owned()),
    }
}
