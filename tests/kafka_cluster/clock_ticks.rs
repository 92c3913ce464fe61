//! How late ticks are, whatever the broker does: by the program's own histogram, beside a factory that has no broker.
//!
//! Where that is permitted, the factories run at a priority above every other process: a late tick is then the program's own doing.

use crate::broker::Cluster;
use crate::program::{Place, QUICK, Running, wait_for};
use crate::three::length;
use crate::world::report;
use mokasim::clock;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const TICK: Duration = Duration::from_millis(100);
/// 99.9 % of all ticks are to be no later, in seconds.
const LATE: f64 = 0.005;
/// Where the factories share the cores with the brokers and whatever else is tested, only a tick that was held by something stands
/// out: no more than one in a hundred may be this late.
const HELD: f64 = 0.1;
/// How often the figures are taken, if need be: the machine itself may be held for a moment,
const WINDOWS_MAX: u32 = 3;
/// and where it is held all the time, the factory without a broker is late as well: with one, no more than so many times as often.
const MORE_LATE_MAX: u64 = 5;

/// How late ticks were, by the bounds of `/metrics`: ticks up to each, in seconds; the last one has no bound.
struct Ticks(Vec<(f64, u64)>);

impl Ticks {
    fn of(factory: &Running) -> Self {
        let (_, page) = factory.get("/metrics");
        let bucket = |line: &str| {
            let line = line.strip_prefix("mokasim_tick_lateness_seconds_bucket{le=\"")?;
            let (bound, ticks) = line.split_once("\"} ")?;
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, ticks.parse().ok()?))
        };
        Self(page.lines().filter_map(bucket).collect())
    }

    fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(now, before)| (now.0, now.1 - before.1)).collect())
    }

    fn count(&self) -> u64 {
        self.0.last().map_or(0, |last| last.1)
    }

    /// Ticks later than this bound.
    fn later_than(&self, late: f64) -> u64 {
        self.count() - self.0.iter().find(|(bound, _)| *bound == late).unwrap().1
    }

    /// The bound that so many thousandths of the ticks keep, in milliseconds.
    fn bound_ms(&self, permille: u64) -> f64 {
        self.0.iter().find(|(_, ticks)| ticks * 1_000 >= self.count() * permille).unwrap().0 * 1_000.0
    }

    fn report(&self, broker: &str) {
        let (count, half, most, late) = (self.count(), self.bound_ms(500), self.bound_ms(999), self.later_than(LATE));
        report(&format!(
            "{broker:16} {count:5} ticks of {TICK:?}: half at most {half} ms late, 99.9 % at most {most} ms; {late} later than {} ms",
            LATE * 1_000.0
        ));
    }
}

/// A factory with a broker of some kind, and its ticks until the window began.
struct Case {
    broker: &'static str,
    factory: Running,
    /// What its health is to be.
    status: &'static str,
    before: Ticks,
    /// Ticks later than `LATE` in the windows so far.
    late: u64,
    _place: Place,
}

impl Case {
    fn begin(&mut self) {
        self.before = Ticks::of(&self.factory);
    }

    /// Ends a window.
    fn end(&mut self) -> Ticks {
        let ticks = self.ticks();
        ticks.report(self.broker);
        self.late += ticks.later_than(LATE);
        ticks
    }

    fn ticks(&self) -> Ticks {
        Ticks::of(&self.factory).since(&self.before)
    }

    /// CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.factory.pid())).unwrap();
        let fields = stat.rsplit(") ").next().unwrap().split(' ');
        let hundredths: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(hundredths * 10)
    }

    /// Puts the factory's threads above all that have no real-time priority; false where that is not permitted.
    fn rise_above_others(&self) -> bool {
        let chrt =
            Command::new("chrt").args(["--all-tasks", "--fifo", "--pid", "10", &self.factory.pid().to_string()]).output();
        chrt.is_ok_and(|chrt| chrt.status.success())
    }

    fn status(&self) -> String {
        self.factory.health()["status"].as_str().unwrap().to_owned()
    }
}

/// Whether the ticks of a window were in time.
fn is_in_time(ticks: &Ticks, control: &Ticks, is_above_others: bool) -> bool {
    if is_above_others {
        ticks.later_than(LATE) * 1_000 <= ticks.count()
    } else {
        ticks.later_than(HELD) <= (ticks.count() / 100).max(3 * control.later_than(HELD))
    }
}

/// A port whose connections are taken, and get no answer.
fn black_hole() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

/// A resolver that never answers: glibc looks a name without a dot up in the file that `HOSTALIASES` names, and of this one it
/// waits for a line for ever.
struct HangingNames {
    fifo: PathBuf,
    /// So that it can be opened at once; nothing is written.
    _writer: File,
    _dir: TempDir,
}

impl HangingNames {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let fifo = dir.path().join("aliases");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let writer = File::options().read(true).write(true).open(&fifo).unwrap();
        Self { fifo, _writer: writer, _dir: dir }
    }

    /// Whether the program is looking a name up.
    fn is_asked_by(&self, factory: &Running) -> bool {
        let open = fs::read_dir(format!("/proc/{}/fd", factory.pid())).unwrap();
        open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).any(|file| file == self.fifo)
    }
}

#[test]
fn no_broker_makes_a_tick_late() {
    let up = |name| Cluster::up(name, "4.3.1", &[]);
    let (Some(healthy), Some(stopped), Some(frozen)) = (up("healthy"), up("stopped"), up("frozen")) else { return };
    let names = HangingNames::new();
    let start = |broker, target: [&str; 2], status| {
        let place = Place::with_config(QUICK);
        let args = [&["run", "--demo", "--speed", "20", "--tick", "100"][..], &target].concat();
        let mut command = place.command(&args);
        command.env("HOSTALIASES", &names.fifo);
        let factory = place.start_command(command);
        wait_for(status, || factory.health()["status"] == status);
        Case { broker, before: Ticks::of(&factory), factory, status, late: 0, _place: place }
    };
    let mut control = start("no broker", ["--data", "spool"], "healthy");
    let mut cases = [
        start("healthy", ["--broker", healthy.bootstrap()], "healthy"),
        start("stopped", ["--broker", stopped.bootstrap()], "healthy"),
        start("frozen", ["--broker", frozen.bootstrap()], "healthy"),
        start("black hole", ["--broker", &black_hole()], "degraded"),
        start("name that hangs", ["--broker", "broker:9092"], "degraded"),
    ];
    wait_for("the name to be looked up", || names.is_asked_by(&cases[4].factory));
    let is_above_others = cases.iter().all(Case::rise_above_others) && control.rise_above_others();
    if !is_above_others {
        report(
            "NOT ASSERTED: that 99.9 % of the ticks are in time. The factories may not have a real-time priority (chrt --fifo).",
        );
    }
    control.begin();
    cases.iter_mut().for_each(Case::begin);
    stopped.act("kill", None);
    frozen.act("stop", None);
    cases[1].status = "degraded";
    cases[2].status = "degraded";

    let begun = clock::now();
    let cpu_before: Vec<Duration> = cases.iter().map(Case::cpu).collect();
    let mut late: Vec<&str> = cases.iter().map(|case| case.broker).collect();
    for _ in 0..WINDOWS_MAX {
        clock::sleep(length(301, 101));
        let of_control = control.end();
        for case in &mut cases {
            let ticks = case.end();
            if is_in_time(&ticks, &of_control, is_above_others) {
                late.retain(|broker| *broker != case.broker);
            }
            let missing = of_control.count().saturating_sub(ticks.count());
            let missing_max = of_control.count() / if is_above_others { 100 } else { 2 };
            assert!(missing <= missing_max, "broker {}: {missing} ticks are missing", case.broker);
            assert_eq!(case.status(), case.status, "broker {}", case.broker);
        }
        if late.is_empty() {
            break;
        }
        control.begin();
        cases.iter_mut().for_each(Case::begin);
    }
    if is_above_others && !late.is_empty() && control.late > 0 {
        report(&format!(
            "NOT ASSERTED: that 99.9 % of the ticks are in time for {late:?}. Without a broker, too, {} ticks were late.",
            control.late
        ));
        late = cases.iter().filter(|case| case.late > MORE_LATE_MAX * control.late).map(|case| case.broker).collect();
    }
    assert!(late.is_empty(), "ticks are late, whenever they were looked at: {late:?}");
    assert!(names.is_asked_by(&cases[4].factory), "the look-up has ended");
    for (case, before) in cases.iter().zip(cpu_before) {
        let cpu = case.cpu() - before;
        report(&format!("{:16} {cpu:?} of CPU time in {:?}", case.broker, clock::now() - begun));
        assert!(cpu < (clock::now() - begun) / 4, "broker {}: the loop spins", case.broker);
    }
}
