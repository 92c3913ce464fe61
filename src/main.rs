//! The `mokasim` command.

use log::LevelFilter;
use mokasim::cli::{Cli, Command, ConfigArgs, HealthArgs, Mode, RunArgs, SendArgs, TopicsAction, TopicsArgs};
use mokasim::config::{Config, Inputs, Overrides, Problem};
use mokasim::error::{Exit, Failure};
use mokasim::run::{Options, Reread};
use mokasim::send::Schedule;
use mokasim::{bus, check, logging, manual, probe, run, send, topics};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = Cli::read().and_then(|cli| cli.map_or(Ok(()), |cli| execute(cli.command)));
    let exit = result.map_or_else(|failure| tell(&failure), |()| Exit::Ok);
    log::logger().flush();
    exit.into()
}

/// In the log, once there is one. That another instance runs is no error: it is why the program is started every minute.
fn tell(failure: &Failure) -> Exit {
    match failure.exit {
        _ if log::max_level() == LevelFilter::Off => {
            // Nobody is left to tell when standard error is closed.
            let _closed = writeln!(io::stderr(), "{failure}");
        }
        Exit::TempFail => log::info!("{failure}"),
        _ => log::error!("{failure}"),
    }
    failure.exit
}

fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run_factory(&args),
        Command::Send(args) => send_orders(&args),
        Command::Health(args) => ask_health(&args),
        Command::Topics(args) => topics(&args),
        Command::Completions { shell } => print_from(|out| {
            manual::completions(shell, out);
            Ok(())
        }),
        Command::Man => print_from(manual::man),
        Command::Check(args) => print(&check::report(&load(&args, Overrides::default())?)),
    }
}

fn run_factory(args: &RunArgs) -> Result<(), Failure> {
    let overrides = Overrides {
        bootstrap_servers: args.broker.clone(),
        data: args.data.clone(),
        site: args.site.clone(),
        speed: args.speed,
        seed: args.seed,
        tick: args.tick,
        log_level: args.log_level,
    };
    let inputs = Inputs { file: args.config.config.clone(), overrides };
    let (config, source) = inputs.read().map_err(|problems| config_failure(&problems))?;
    let logging =
        logging::init(&config.log, args.log_target).map_err(|error| Failure::new(error.exit(), error.to_string()))?;
    let options = Options {
        start: args.start,
        demo: args.demo,
        orders: args.orders.clone(),
        until_idle: args.until_idle,
        duration: args.duration,
    };
    run::run(config, &options, &Reread { inputs, source, logging })
}

fn send_orders(args: &SendArgs) -> Result<(), Failure> {
    let overrides = Overrides { bootstrap_servers: args.broker.clone(), data: args.data.clone(), ..Overrides::default() };
    let config = load(&args.config, overrides)?;
    let schedule = match args.mode {
        Mode::Batch => Schedule::Batch(args.count),
        Mode::Continuous => Schedule::Continuous { rate: args.rate, duration: args.duration },
    };
    print(&send::send(&config, schedule, args.seed.unwrap_or_else(run::draw_seed))?)
}

/// Every problem of the configuration is a line of its own.
fn config_failure(problems: &[Problem]) -> Failure {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Failure::new(Exit::Config, lines.join("\n"))
}

fn load(args: &ConfigArgs, overrides: Overrides) -> Result<Config, Failure> {
    let inputs = Inputs { file: args.config.clone(), overrides };
    inputs.read().map(|(config, _)| config).map_err(|problems| config_failure(&problems))
}

fn ask_health(args: &HealthArgs) -> Result<(), Failure> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => {
            let inputs = Inputs { file: args.config.config.clone(), ..Inputs::default() };
            let health = inputs.read_health_check().map_err(|problems| config_failure(&problems))?;
            let ip = if health.bind.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { health.bind };
            format!("http://{}/health", SocketAddr::new(ip, health.port))
        }
    };
    print(&probe::probe(&url)?)
}

fn topics(args: &TopicsArgs) -> Result<(), Failure> {
    let overrides = Overrides { bootstrap_servers: args.broker.clone(), ..Overrides::default() };
    let config = load(&args.config, overrides)?;
    print(&match (args.action, args.partitions) {
        (TopicsAction::Create, partitions) => topics::create(&config, partitions.unwrap_or(bus::topics::PARTITIONS))?,
        (TopicsAction::List, None) => topics::list(&config)?,
        (TopicsAction::List, Some(_)) => return Err(Failure::new(Exit::Usage, "--partitions is for topics create")),
    })
}

fn print(text: &str) -> Result<(), Failure> {
    print_from(|out| writeln!(out, "{}", text.trim_end()))
}

/// Prints to standard output; a reader that has closed the pipe has seen enough.
fn print_from(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut text = Vec::new();
    match write(&mut text).and_then(|()| io::stdout().write_all(&text)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
