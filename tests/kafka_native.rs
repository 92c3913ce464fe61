//! The native consumer on real brokers, 3.9.2 and 4.3.1: others write what it reads, and share its group.
//!
//! Needs Java and Maven. Without them the tests are skipped, loudly; with `CI=true` they fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too"
)]

use mokasim::bus::kafka::client::Client;
use mokasim::bus::kafka::consumer::Consumer;
use mokasim::bus::kafka::fetch::FetchSettings;
use mokasim::bus::kafka::fetched::Verdict;
use mokasim::bus::kafka::group::GroupSettings;
use mokasim::bus::kafka::settings::Settings;
use mokasim::clock;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const VERSIONS: [&str; 2] = ["3.9.2", "4.3.1"];
const BROKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// The address of the broker of a version, started once for this file and stopped with it.
fn bootstrap(version: &str) -> Option<String> {
    static BROKERS: [OnceLock<Option<String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let index = VERSIONS.iter().position(|known| *known == version).unwrap();
    BROKERS[index].get_or_init(|| bring(version)).clone()
}

fn bring(version: &str) -> Option<String> {
    let missing = ["java", "mvn", "kcat"].iter().find(|tool| Command::new(tool).arg("-version").output().is_err());
    if let Some(tool) = missing {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "`{tool}` is missing, and CI=true");
        eprintln!("SKIPPED, NOT PASSED: `{tool}` is missing, so nothing was tested on Kafka {version}");
        return None;
    }
    let name = format!("native-{}-{}", version.replace('.', ""), std::process::id());
    let owner = std::process::id().to_string();
    let env = output(Command::new(BROKER).args(["up", version, "--name", &name, "--owner", &owner]));
    let line = env.lines().find_map(|line| line.strip_prefix("BOOTSTRAP="));
    Some(line.expect("the broker's address").to_owned())
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn tool(version: &str, class: &str, arguments: &[&str]) -> String {
    output(Command::new(BROKER).args(["tool", version, class]).args(arguments))
}

fn create_topic(version: &str, bootstrap: &str, topic: &str, partitions: &str) {
    tool(
        version,
        "TopicCommand",
        &["--bootstrap-server", bootstrap, "--create", "--topic", topic, "--partitions", partitions],
    );
}

/// Writes `key:value` lines with kcat.
fn kcat(bootstrap: &str, topic: &str, arguments: &[&str], lines: impl Iterator<Item = String>) {
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", bootstrap, "-t", topic, "-K", ":"])
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text: String = lines.map(|line| line + "\n").collect();
    kcat.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(kcat.wait().unwrap().success());
}

/// One instance: a client with a consumer, and what it was handed.
struct Instance {
    client: Client,
    consumer: Consumer,
    seen: Vec<(i32, i64, String)>,
}

impl Instance {
    fn new(bootstrap: &str, group: GroupSettings) -> Self {
        let settings = Settings::new(vec![bootstrap.parse().unwrap()]);
        let consumer = Consumer::new(group, FetchSettings::default(), &settings);
        Self { client: Client::new(settings, clock::now()).unwrap(), consumer, seen: Vec::new() }
    }

    fn turn(&mut self) {
        let now = clock::now();
        self.client.receive(now);
        let seen = &mut self.seen;
        self.consumer.poll(now, &mut self.client.cluster, 100, &mut |source, record| {
            seen.push((
                source.partition,
                record.offset,
                String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned(),
            ));
            Verdict::Done
        });
        self.client.send(now);
        self.client.wait(now, now + Duration::from_millis(10));
    }

    fn close(&mut self) {
        self.consumer.close();
        run(&mut [self], "closed", |instances| instances[0].consumer.is_closed());
    }

    fn values(&self) -> Vec<&str> {
        let mut values: Vec<&str> = self.seen.iter().map(|(_, _, value)| value.as_str()).collect();
        values.sort_unstable();
        values
    }
}

/// Lets the instances run until `done`.
fn run(instances: &mut [&mut Instance], what: &str, mut done: impl FnMut(&mut [&mut Instance]) -> bool) {
    let deadline = clock::now() + PATIENCE;
    while !done(instances) {
        assert!(clock::now() < deadline, "not {what} in time: {:#?}", states(instances));
        instances.iter_mut().for_each(|instance| instance.turn());
    }
}

fn states(instances: &[&mut Instance]) -> Vec<String> {
    let state = |instance: &&mut Instance| {
        let problems: Vec<String> =
            instance.client.cluster.problems().map(|(endpoint, failure)| format!("{endpoint}: {failure}")).collect();
        let group = instance.consumer.group();
        format!(
            "seen {}, assigned {:?}, identity {:?}, trouble {:?}, problems {problems:?}",
            instance.seen.len(),
            group.assigned(),
            group.identity(),
            group.trouble()
        )
    };
    instances.iter().map(state).collect()
}

fn group(name: &str, topic: &str) -> GroupSettings {
    GroupSettings {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(300),
        ..GroupSettings::new(name, topic)
    }
}

fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("key-{}:order-{n:05}", n % 17))
}

fn each_version(test: impl Fn(&str, &str) + Sync) {
    // Most of the time is waiting.
    std::thread::scope(|scope| {
        for version in VERSIONS {
            let test = &test;
            scope.spawn(move || {
                if let Some(bootstrap) = bootstrap(version) {
                    eprintln!("on Kafka {version} at {bootstrap}");
                    test(version, &bootstrap);
                }
            });
        }
    });
}

#[test]
fn what_kcat_writes_in_every_compression_is_read_once_and_a_restart_goes_on_behind_it() {
    each_version(|_, bootstrap| {
        let topic = "kcat-writes";
        let mut expected = Vec::new();
        for (index, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
            kcat(bootstrap, topic, &["-z", codec], numbered(index * 100..index * 100 + 100));
            expected.extend((index * 100..index * 100 + 100).map(|n| format!("order-{n:05}")));
        }
        let mut first = Instance::new(bootstrap, group("restart", topic));
        run(&mut [&mut first], "all read", |instances| instances[0].seen.len() >= 500);
        assert_eq!(first.values(), expected);
        first.close();

        kcat(bootstrap, topic, &[], numbered(500..600));
        let mut second = Instance::new(bootstrap, group("restart", topic));
        run(&mut [&mut second], "the rest read", |instances| instances[0].seen.len() >= 100);
        assert_eq!(second.values(), (500..600).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
        second.close();
    });
}

#[test]
fn instances_share_the_partitions_and_no_order_is_lost_or_doubled_when_one_comes_or_goes() {
    each_version(|version, bootstrap| {
        for modern in [false, true] {
            let topic = format!("shared-{modern}");
            create_topic(version, bootstrap, &topic, "6");
            let settings = || GroupSettings { modern, ..group(&format!("shared-{modern}"), &topic) };
            let share = |count: usize| {
                move |instances: &mut [&mut Instance]| {
                    instances.iter().all(|instance| instance.consumer.group().assigned().len() == count)
                }
            };
            let (mut a, mut b, mut c) = (
                Instance::new(bootstrap, settings()),
                Instance::new(bootstrap, settings()),
                Instance::new(bootstrap, settings()),
            );
            run(&mut [&mut a], "alone", share(6));
            kcat(bootstrap, &topic, &[], numbered(0..300));
            run(&mut [&mut a, &mut b], "two", share(3));
            kcat(bootstrap, &topic, &[], numbered(300..600));
            run(&mut [&mut a, &mut b, &mut c], "three", share(2));
            kcat(bootstrap, &topic, &[], numbered(600..900));
            run(&mut [&mut a, &mut b, &mut c], "all read", |instances| {
                instances.iter().map(|instance| instance.seen.len()).sum::<usize>() >= 900
            });
            a.close();
            kcat(bootstrap, &topic, &[], numbered(900..1200));
            run(&mut [&mut b, &mut c], "two again", share(3));
            run(&mut [&mut b, &mut c], "the rest read", |instances| {
                instances.iter().map(|instance| instance.seen.len()).sum::<usize>() + a.seen.len() >= 1200
            });
            let mut all: BTreeMap<&str, usize> = BTreeMap::new();
            for value in a.values().into_iter().chain(b.values()).chain(c.values()) {
                *all.entry(value).or_default() += 1;
            }
            assert_eq!(all.len(), 1200);
            assert!(all.values().all(|count| *count == 1), "doubled: {all:?}");
            assert!(!a.seen.is_empty() && !b.seen.is_empty() && !c.seen.is_empty());
            b.close();
            c.close();
        }
    });
}

/// A group that waits for a member that was killed goes on reading what it has, and whoever leaves it meanwhile has committed all.
#[test]
fn one_that_leaves_while_the_group_waits_for_a_dead_member_doubles_no_order() {
    each_version(|version, bootstrap| {
        let topic = "dead-member";
        create_topic(version, bootstrap, topic, "4");
        let settings = || GroupSettings { modern: false, ..group(topic, topic) };
        let dead = GroupSettings { session_timeout: Duration::from_secs(30), ..settings() };
        let (mut a, mut killed) = (Instance::new(bootstrap, settings()), Instance::new(bootstrap, dead));
        run(&mut [&mut a, &mut killed], "two", |instances| {
            instances.iter().all(|instance| instance.consumer.group().assigned().len() == 2)
        });
        let seen_by_killed = killed.seen.len();
        drop(killed);
        let mut b = Instance::new(bootstrap, settings());
        while !is_rebalancing(version, bootstrap, topic, &mut [&mut a, &mut b]) {}
        kcat(bootstrap, topic, &[], numbered(0..400));
        run(&mut [&mut a, &mut b], "what is its own read", |instances| {
            let is_read = |(_, lag)| lag == Some(0);
            let consumer = &instances[0].consumer;
            !instances[0].seen.is_empty() && consumer.lag().all(is_read)
        });
        a.close();
        assert!(is_rebalancing(version, bootstrap, topic, &mut [&mut b]), "it was over too soon to show anything");
        let total = a.seen.len() + seen_by_killed;
        run(&mut [&mut b], "the rest read", |instances| instances[0].seen.len() + total >= 400);
        b.close();
        let mut all: Vec<&str> = a.values().into_iter().chain(b.values()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..400).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
    });
}

/// Whether the group waits for its members; the instances go on while Kafka's command asks.
fn is_rebalancing(version: &str, bootstrap: &str, group: &str, instances: &mut [&mut Instance]) -> bool {
    std::thread::scope(|scope| {
        let arguments = ["--bootstrap-server", bootstrap, "--describe", "--state", "--group", group];
        let command = scope.spawn(move || tool(version, "consumer.group.ConsumerGroupCommand", &arguments));
        run(instances, "shown", |_| command.is_finished());
        command.join().unwrap().contains("PreparingRebalance")
    })
}

#[test]
fn a_static_member_that_restarts_causes_no_rebalance() {
    each_version(|version, bootstrap| {
        for (modern, crashes) in [(false, false), (false, true), (true, false), (true, true)] {
            let topic = format!("static-{modern}-{crashes}");
            create_topic(version, bootstrap, &topic, "4");
            let member =
                |instance: &str| GroupSettings { modern, instance_id: Some(instance.into()), ..group(&topic, &topic) };
            let mut stays = Instance::new(bootstrap, member("stays"));
            let mut restarts = Instance::new(bootstrap, member("restarts"));
            run(&mut [&mut stays, &mut restarts], "shared", |instances| {
                instances.iter().all(|instance| instance.consumer.group().assigned().len() == 2)
            });
            let before = (stays.consumer.group().identity().unwrap(), restarts.consumer.group().assigned().to_vec());
            let (member_id, _) = restarts.consumer.group().identity().unwrap();
            if crashes {
                drop(restarts);
            } else {
                restarts.close();
            }
            let knowing = GroupSettings { previous_member_id: Some(member_id.to_string()), ..member("restarts") };
            let mut restarted = Instance::new(bootstrap, knowing);
            kcat(bootstrap, &topic, &[], numbered(0..200));
            run(&mut [&mut stays, &mut restarted], "all read", |instances| {
                instances.iter().map(|instance| instance.seen.len()).sum::<usize>() >= 200
            });
            let after = (stays.consumer.group().identity().unwrap(), restarted.consumer.group().assigned().to_vec());
            assert_eq!(
                after, before,
                "the generation of the member that stayed, and the partitions of the one that came back"
            );
            stays.close();
            restarted.close();
        }
    });
}

#[test]
fn what_java_and_python_write_is_read_without_what_was_aborted() {
    each_version(|version, bootstrap| {
        let topic = "others-write";
        create_topic(version, bootstrap, topic, "3");
        let python = output(Command::new(BROKER).arg("python"));
        let script = r#"
import sys, confluent_kafka
producer = confluent_kafka.Producer({"bootstrap.servers": sys.argv[1], "transactional.id": "python", "compression.type": "lz4"})
producer.init_transactions()
for commit in (True, False, True):
    producer.begin_transaction()
    for n in range(50):
        producer.produce(sys.argv[2], f"committed-{commit}", f"key-{n}", headers={"n": str(n)})
    producer.flush()
    producer.commit_transaction() if commit else producer.abort_transaction()
"#;
        output(Command::new(python.trim()).args(["-c", script, bootstrap, topic]));
        let server = format!("bootstrap.servers={bootstrap}");
        let java = ["--topic", topic, "--num-records", "200", "--record-size", "100", "--throughput", "-1"];
        tool(version, "ProducerPerformance", &[&java[..], &["--producer-props", &server, "compression.type=gzip"]].concat());

        let mut instance = Instance::new(bootstrap, group("others-write", topic));
        // The markers of the transactions are read over, so the lag is zero only behind them.
        run(&mut [&mut instance], "all read", |instances| {
            instances[0].seen.len() >= 300 && instances[0].consumer.lag().all(|(_, lag)| lag == Some(0))
        });
        let committed = instance.seen.iter().filter(|(_, _, value)| value == "committed-True").count();
        assert_eq!((instance.seen.len(), committed), (300, 100));
        instance.close();
        let shown = describe(version, bootstrap, "others-write", &["--offsets"]);
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(shown.iter().all(|row| row["LAG"] == "0"), "{shown:?}");
    });
}

/// The rows that ConsumerGroupCommand shows, by the names of its columns.
fn describe(version: &str, bootstrap: &str, group: &str, what: &[&str]) -> Vec<BTreeMap<String, String>> {
    let arguments = [&["--bootstrap-server", bootstrap, "--describe", "--group", group], what].concat();
    let shown = tool(version, "consumer.group.ConsumerGroupCommand", &arguments);
    let mut lines = shown.lines().filter(|line| !line.trim().is_empty()).skip_while(|line| !line.starts_with("GROUP"));
    let names: Vec<&str> = lines.next().unwrap_or_else(|| panic!("no table in {shown}")).split_whitespace().collect();
    lines.map(|line| names.iter().map(ToString::to_string).zip(line.split_whitespace().map(Into::into)).collect()).collect()
}

#[test]
fn kafkas_own_command_shows_our_group_with_members_and_lag() {
    each_version(|version, bootstrap| {
        for modern in [false, true] {
            let name = format!("shown-{modern}");
            create_topic(version, bootstrap, &name, "2");
            let mut instance = Instance::new(bootstrap, GroupSettings { modern, ..group(&name, &name) });
            kcat(bootstrap, &name, &[], numbered(0..100));
            run(&mut [&mut instance], "all read", |instances| instances[0].seen.len() >= 100);
            let settle = clock::now() + Duration::from_secs(1);
            run(&mut [&mut instance], "committed", |_| clock::now() > settle);
            // It goes on beating while the command asks.
            let shown = std::thread::scope(|scope| {
                let command = scope.spawn(|| {
                    let of = |what: &str| describe(version, bootstrap, &name, &[what]);
                    (of("--offsets"), of("--members"))
                });
                run(&mut [&mut instance], "shown", |_| command.is_finished());
                command.join().unwrap()
            });
            let (offsets, members) = shown;
            assert_eq!(offsets.len(), 2, "{offsets:?}");
            assert!(offsets.iter().all(|row| row["LAG"] == "0" && row["CLIENT-ID"] == "mokasim"), "{offsets:?}");
            let read: u64 = offsets.iter().map(|row| row["CURRENT-OFFSET"].parse::<u64>().unwrap()).sum();
            assert_eq!(read, 100);
            assert_eq!(members.len(), 1, "{members:?}");
            assert_eq!(members[0]["#PARTITIONS"], "2");
            instance.close();
        }
    });
}

#[test]
fn the_java_consumer_shares_a_group_with_ours_whoever_leads() {
    each_version(|version, bootstrap| {
        for java_first in [false, true] {
            let name = format!("mixed-{java_first}");
            create_topic(version, bootstrap, &name, "4");
            let console = || {
                let arguments =
                    ["--bootstrap-server", bootstrap, "--topic", &name, "--group", &name, "--timeout-ms", "12000"];
                let mut command = Command::new(BROKER);
                command.args(["tool", version, "consumer.ConsoleConsumer"]).args(arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
            };
            let mut ours = Instance::new(bootstrap, GroupSettings { modern: false, ..group(&name, &name) });
            let shares = |instances: &mut [&mut Instance]| instances[0].consumer.group().assigned().len() == 2;
            let java = if java_first {
                let java = console();
                wait_for_member(version, bootstrap, &name);
                java
            } else {
                run(&mut [&mut ours], "alone", |instances| instances[0].consumer.group().assigned().len() == 4);
                console()
            };
            run(&mut [&mut ours], "shared", shares);
            kcat(bootstrap, &name, &[], numbered(0..400));
            // The console consumer ends by its time-out, leaves, and we are alone again.
            run(&mut [&mut ours], "alone again", |instances| instances[0].consumer.group().assigned().len() == 4);
            let printed = java.wait_with_output().unwrap();
            let theirs: Vec<String> = String::from_utf8(printed.stdout).unwrap().lines().map(Into::into).collect();
            kcat(bootstrap, &name, &[], numbered(400..500));
            run(&mut [&mut ours], "all read", |instances| instances[0].seen.len() + theirs.len() >= 500);
            assert!(!theirs.is_empty() && theirs.len() < 400, "{} of 400 were theirs", theirs.len());
            let mut all: Vec<&str> = theirs.iter().map(String::as_str).chain(ours.values()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..500).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
            ours.close();
        }
    });
}

fn wait_for_member(version: &str, bootstrap: &str, group: &str) {
    let deadline = clock::now() + PATIENCE;
    loop {
        let arguments = ["--bootstrap-server", bootstrap, "--describe", "--group", group, "--members"];
        let shown =
            Command::new(BROKER).args(["tool", version, "consumer.group.ConsumerGroupCommand"]).args(arguments).output();
        if String::from_utf8_lossy(&shown.unwrap().stdout).contains("console-consumer") {
            return;
        }
        assert!(clock::now() < deadline, "the console consumer did not join");
    }
}
