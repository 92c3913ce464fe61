//! The native consumer on real brokers, 3.9.2 and 4.3.1: others write what it reads, and share its group. And what of the producer
//! only they can show.
//!
//! Needs Java and Maven. Without them the tests are skipped, loudly; with `CI=true` they fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "common/broker.rs"]
mod broker;
#[path = "kafka_native/forgotten.rs"]
mod forgotten;
#[path = "kafka_native/limits.rs"]
mod limits;

use broker::{Cluster, ToSend, wait_for};
use mokasim::bus::kafka::client::Client;
use mokasim::bus::kafka::consumer::Consumer;
use mokasim::bus::kafka::fetch::FetchSettings;
use mokasim::bus::kafka::fetched::Verdict;
use mokasim::bus::kafka::group::GroupSettings;
use mokasim::bus::kafka::settings::Settings;
use mokasim::clock;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

const VERSIONS: [&str; 2] = ["3.9.2", "4.3.1"];
const GROUP_COMMAND: &str = "consumer.group.ConsumerGroupCommand";
/// Lines for kcat are `key:value`.
const KEYS: &[&str] = &["-K", ":"];
/// A broker looks ten times a second for producers that it may forget, and not every ten minutes.
const QUICK_TO_FORGET: [&str; 2] = ["--set", "producer.id.expiration.check.interval.ms=100"];
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// One instance: a client with a consumer, and what it was handed.
struct Instance {
    client: Client,
    consumer: Consumer,
    seen: Vec<(i32, i64, String)>,
}

impl Instance {
    fn new(cluster: &Cluster, group: GroupSettings) -> Self {
        Self::with(settings(cluster), group)
    }

    fn with(settings: Settings, group: GroupSettings) -> Self {
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

fn settings(cluster: &Cluster) -> Settings {
    Settings::new(vec![cluster.bootstrap().parse().unwrap()])
}

fn group(name: &str, topic: &str) -> GroupSettings {
    GroupSettings {
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(300),
        ..GroupSettings::new(name, topic)
    }
}

/// Lines of `key:value` for [`KEYS`].
fn numbered(range: std::ops::Range<usize>) -> String {
    range.map(|n| format!("key-{}:order-{n:05}\n", n % 17)).collect()
}

/// Runs a test on each version, at the same time: most of it is waiting.
fn each_version(test: impl Fn(&Cluster) + Sync) {
    static CLUSTERS: [OnceLock<Option<Cluster>>; 2] = [OnceLock::new(), OnceLock::new()];
    std::thread::scope(|scope| {
        for (version, cluster) in VERSIONS.iter().zip(&CLUSTERS) {
            let test = &test;
            scope.spawn(move || {
                let up = || Cluster::up(&format!("native-{}", version.replace('.', "-")), version, &QUICK_TO_FORGET);
                cluster.get_or_init(up).iter().for_each(test);
            });
        }
    });
}

#[test]
fn what_kcat_writes_in_every_compression_is_read_once_and_a_restart_goes_on_behind_it() {
    each_version(|cluster| {
        let topic = "kcat-writes";
        let mut expected = Vec::new();
        for (index, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
            cluster.kcat(topic, &[KEYS, &["-z", codec]].concat(), &numbered(index * 100..index * 100 + 100));
            expected.extend((index * 100..index * 100 + 100).map(|n| format!("order-{n:05}")));
        }
        let mut first = Instance::new(cluster, group("restart", topic));
        run(&mut [&mut first], "all read", |instances| instances[0].seen.len() >= 500);
        assert_eq!(first.values(), expected);
        first.close();

        cluster.kcat(topic, KEYS, &numbered(500..600));
        let mut second = Instance::new(cluster, group("restart", topic));
        run(&mut [&mut second], "the rest read", |instances| instances[0].seen.len() >= 100);
        assert_eq!(second.values(), (500..600).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
        second.close();
    });
}

#[test]
fn instances_share_the_partitions_and_no_order_is_lost_or_doubled_when_one_comes_or_goes() {
    each_version(|cluster| {
        for modern in [false, true] {
            let topic = format!("shared-{modern}");
            cluster.create(&topic, 6);
            let settings = || GroupSettings { modern, ..group(&format!("shared-{modern}"), &topic) };
            let share = |count: usize| {
                move |instances: &mut [&mut Instance]| {
                    instances.iter().all(|instance| instance.consumer.group().assigned().len() == count)
                }
            };
            let (mut a, mut b, mut c) =
                (Instance::new(cluster, settings()), Instance::new(cluster, settings()), Instance::new(cluster, settings()));
            run(&mut [&mut a], "alone", share(6));
            cluster.kcat(&topic, KEYS, &numbered(0..300));
            run(&mut [&mut a, &mut b], "two", share(3));
            cluster.kcat(&topic, KEYS, &numbered(300..600));
            run(&mut [&mut a, &mut b, &mut c], "three", share(2));
            cluster.kcat(&topic, KEYS, &numbered(600..900));
            run(&mut [&mut a, &mut b, &mut c], "all read", |instances| {
                instances.iter().map(|instance| instance.seen.len()).sum::<usize>() >= 900
            });
            a.close();
            cluster.kcat(&topic, KEYS, &numbered(900..1200));
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
fn partitions_that_a_topic_is_given_are_read_from_their_beginning_without_a_restart() {
    each_version(|cluster| {
        for modern in [false, true] {
            let topic = format!("grows-{modern}");
            cluster.create(&topic, 1);
            let attentive = Settings { metadata_max_age: Duration::from_secs(2), ..settings(cluster) };
            let mut instance = Instance::with(attentive, GroupSettings { modern, ..group(&topic, &topic) });
            run(&mut [&mut instance], "assigned", |instances| instances[0].consumer.group().assigned() == [0]);
            cluster.tool("TopicCommand", &["--alter", "--topic", &topic, "--partitions", "3"]);
            cluster.kcat(&topic, KEYS, &numbered(0..100));
            run(&mut [&mut instance], "all read", |instances| instances[0].seen.len() >= 100);
            assert_eq!(instance.values(), (0..100).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
            assert!(instance.seen.iter().any(|(partition, ..)| *partition == 2), "kcat knew one partition only");
            instance.close();
        }
    });
}

#[test]
fn one_that_leaves_while_the_group_waits_for_a_dead_member_doubles_no_order() {
    each_version(|cluster| {
        let topic = "dead-member";
        cluster.create(topic, 4);
        let settings = || GroupSettings { modern: false, ..group(topic, topic) };
        let dead = GroupSettings { session_timeout: Duration::from_secs(30), ..settings() };
        let (mut a, mut killed) = (Instance::new(cluster, settings()), Instance::new(cluster, dead));
        run(&mut [&mut a, &mut killed], "two", |instances| {
            instances.iter().all(|instance| instance.consumer.group().assigned().len() == 2)
        });
        let seen_by_killed = killed.seen.len();
        drop(killed);
        let mut b = Instance::new(cluster, settings());
        while !is_rebalancing(cluster, topic, &mut [&mut a, &mut b]) {}
        cluster.kcat(topic, KEYS, &numbered(0..400));
        run(&mut [&mut a, &mut b], "what is its own read", |instances| {
            let is_read = |(_, lag)| lag == Some(0);
            let consumer = &instances[0].consumer;
            !instances[0].seen.is_empty() && consumer.lag().all(is_read)
        });
        a.close();
        assert!(b.consumer.group().assigned().is_empty(), "it was over too soon to show anything");
        let total = a.seen.len() + seen_by_killed;
        run(&mut [&mut b], "the rest read", |instances| instances[0].seen.len() + total >= 400);
        b.close();
        let mut all: Vec<&str> = a.values().into_iter().chain(b.values()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..400).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
    });
}

/// Whether the group waits for its members; the instances go on while that is asked. Kafka's own command would take too long.
fn is_rebalancing(cluster: &Cluster, group: &str, instances: &mut [&mut Instance]) -> bool {
    std::thread::scope(|scope| {
        let state = scope.spawn(|| cluster.group_state(group));
        run(instances, "shown", |_| state.is_finished());
        state.join().unwrap() == "PreparingRebalance"
    })
}

#[test]
fn a_static_member_that_restarts_causes_no_rebalance() {
    each_version(|cluster| {
        for (modern, crashes) in [(false, false), (false, true), (true, false), (true, true)] {
            let topic = format!("static-{modern}-{crashes}");
            cluster.create(&topic, 4);
            let member =
                |instance: &str| GroupSettings { modern, instance_id: Some(instance.into()), ..group(&topic, &topic) };
            let mut stays = Instance::new(cluster, member("stays"));
            let mut restarts = Instance::new(cluster, member("restarts"));
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
            let mut restarted = Instance::new(cluster, knowing);
            cluster.kcat(&topic, KEYS, &numbered(0..200));
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
    each_version(|cluster| {
        let topic = "others-write";
        cluster.create(topic, 3);
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
        cluster.python(script, &[topic]);
        cluster.produce_by_java(topic, &vec![ToSend { value: "by Java".into(), ..ToSend::default() }; 200]);

        let mut instance = Instance::new(cluster, group("others-write", topic));
        // The markers of the transactions are read over, so the lag is zero only behind them.
        run(&mut [&mut instance], "all read", |instances| {
            instances[0].seen.len() >= 300 && instances[0].consumer.lag().all(|(_, lag)| lag == Some(0))
        });
        let committed = instance.seen.iter().filter(|(_, _, value)| value == "committed-True").count();
        assert_eq!((instance.seen.len(), committed), (300, 100));
        instance.close();
        let shown = describe(cluster, "others-write", &["--offsets"]);
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(shown.iter().all(|row| row["LAG"] == "0"), "{shown:?}");
    });
}

/// The rows that ConsumerGroupCommand shows, by the names of its columns.
fn describe(cluster: &Cluster, group: &str, what: &[&str]) -> Vec<BTreeMap<String, String>> {
    let shown = cluster.tool(GROUP_COMMAND, &[&["--describe", "--group", group], what].concat());
    let mut lines = shown.lines().filter(|line| !line.trim().is_empty()).skip_while(|line| !line.starts_with("GROUP"));
    let names: Vec<&str> = lines.next().unwrap_or_else(|| panic!("no table in {shown}")).split_whitespace().collect();
    lines.map(|line| names.iter().map(ToString::to_string).zip(line.split_whitespace().map(Into::into)).collect()).collect()
}

#[test]
fn kafkas_own_command_shows_our_group_with_members_and_lag() {
    each_version(|cluster| {
        for modern in [false, true] {
            let name = format!("shown-{modern}");
            cluster.create(&name, 2);
            let mut instance = Instance::new(cluster, GroupSettings { modern, ..group(&name, &name) });
            cluster.kcat(&name, KEYS, &numbered(0..100));
            run(&mut [&mut instance], "all read", |instances| instances[0].seen.len() >= 100);
            let settle = clock::now() + Duration::from_secs(1);
            run(&mut [&mut instance], "committed", |_| clock::now() > settle);
            // It goes on beating while the command asks.
            let shown = std::thread::scope(|scope| {
                let command = scope.spawn(|| {
                    let of = |what: &str| describe(cluster, &name, &[what]);
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
    each_version(|cluster| {
        for java_first in [false, true] {
            let name = format!("mixed-{java_first}");
            cluster.create(&name, 4);
            let console = || {
                let args = ["--topic", &name, "--group", &name, "--timeout-ms", "12000"];
                let mut command = cluster.tool_command("consumer.ConsoleConsumer", &args);
                command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
            };
            let mut ours = Instance::new(cluster, GroupSettings { modern: false, ..group(&name, &name) });
            let shares = |instances: &mut [&mut Instance]| instances[0].consumer.group().assigned().len() == 2;
            let java = if java_first {
                let java = console();
                wait_for_member(cluster, &name);
                java
            } else {
                run(&mut [&mut ours], "alone", |instances| instances[0].consumer.group().assigned().len() == 4);
                console()
            };
            run(&mut [&mut ours], "shared", shares);
            cluster.kcat(&name, KEYS, &numbered(0..400));
            // The console consumer ends by its time-out, leaves, and we are alone again.
            run(&mut [&mut ours], "alone again", |instances| instances[0].consumer.group().assigned().len() == 4);
            let printed = java.wait_with_output().unwrap();
            let theirs: Vec<String> = String::from_utf8(printed.stdout).unwrap().lines().map(Into::into).collect();
            cluster.kcat(&name, KEYS, &numbered(400..500));
            run(&mut [&mut ours], "all read", |instances| instances[0].seen.len() + theirs.len() >= 500);
            assert!(!theirs.is_empty() && theirs.len() < 400, "{} of 400 were theirs", theirs.len());
            let mut all: Vec<&str> = theirs.iter().map(String::as_str).chain(ours.values()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..500).map(|n| format!("order-{n:05}")).collect::<Vec<_>>());
            ours.close();
        }
    });
}

fn wait_for_member(cluster: &Cluster, group: &str) {
    wait_for("the console consumer to join", || {
        // It fails while there is no such group.
        let shown = cluster.tool_command(GROUP_COMMAND, &["--describe", "--group", group, "--members"]).output();
        String::from_utf8_lossy(&shown.unwrap().stdout).contains("console-consumer")
    });
}
