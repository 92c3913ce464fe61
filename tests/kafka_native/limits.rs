//! Quotas, and batches that are larger than what a client can hold.

use crate::{Instance, KEYS, each_version, group, numbered, run, settings};
use mokasim::bus::kafka::settings::Settings;
use std::time::Duration;

#[test]
fn a_quota_is_waited_for_and_no_connection_is_lost_by_it() {
    each_version(|cluster| {
        let name = "quota";
        let quota =
            ["--alter", "--entity-type", "clients", "--entity-name", name, "--add-config", "consumer_byte_rate=1000"];
        cluster.tool("kafka.admin.ConfigCommand", &quota);
        cluster.create(name, 1);
        // Twice of what the quota lets through in its ten seconds, in batches that are each far less.
        cluster.kcat(name, &[KEYS, &["-X", "batch.num.messages=10"]].concat(), &numbered(0..500));
        let impatient = Settings { client_id: name.into(), request_timeout: Duration::from_secs(2), ..settings(cluster) };
        let mut instance = Instance::with(impatient, group(name, name));
        let mut told = false;
        run(&mut [&mut instance], "all read", |instances| {
            let cluster = &instances[0].client.cluster;
            told |= cluster.trouble().is_some_and(|trouble| trouble.contains("keeps a quota"));
            let problems: Vec<String> = cluster.problems().map(|(_, failure)| failure.to_string()).collect();
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!((instances[0].consumer.trouble(), instances[0].consumer.fetch_counts().total()), (None, 0));
            instances[0].seen.len() >= 500
        });
        assert!(told, "the broker held nothing back");
        instance.close();
    });
}

#[test]
fn a_batch_that_is_larger_than_a_record_may_be_is_read_record_by_record() {
    each_version(|cluster| {
        let name = "large-batch";
        cluster.create(name, 1);
        let script = r#"
import sys, confluent_kafka
limits = {"linger.ms": 10000, "batch.size": 2**31 - 1, "batch.num.messages": 10**6, "message.max.bytes": 10**8,
          "queue.buffering.max.messages": 10**6, "queue.buffering.max.kbytes": 2 * 10**6}
producer = confluent_kafka.Producer({"bootstrap.servers": sys.argv[1], "compression.type": "zstd", **limits})
for n in range(40_000):
    producer.produce(sys.argv[2], f"{n:05}" + "x" * 500)
producer.flush()
"#;
        cluster.python(script, &[name]);
        let mut instance = Instance::new(cluster, group(name, name));
        run(&mut [&mut instance], "all read", |instances| instances[0].seen.len() >= 40_000);
        let in_order = instance
            .seen
            .iter()
            .enumerate()
            .all(|(n, (_, offset, value))| *offset == n as i64 && value.get(..5) == Some(&format!("{n:05}")));
        assert!(in_order && instance.seen.len() == 40_000);
        instance.close();
    });
}
