//! A plant an instance.

use crate::broker::Cluster;
use crate::program::{Running, wait_for};
use crate::{clusters, lots, order, place, send_orders};

#[test]
fn two_instances_play_a_plant_each_and_leave_the_third_alone() {
    for cluster in clusters() {
        let plants = ["Italia", "Brasile", "Vietnam"];
        send_orders(cluster, "sites", (0..12).map(|n| order(&format!("L-{n:02}"), plants[n % 3])));
        let instances = ["Italia", "Brasile"].map(|site| {
            let place = place("sites", "");
            let factory = place.start(&["run", "--site", site, "--speed", "60", "--broker", cluster.bootstrap()]);
            (place, factory)
        });
        for (_, instance) in &instances {
            wait_for("the plant's four lots", || instance.health()["completed_lots"] == 4);
            wait_for("the other plants' eight", || instance.health()["elsewhere_orders"] == 8);
            assert_eq!(instance.health()["rejected_orders"], 0);
        }
        let run_ids = instances.each_ref().map(|(_, instance)| instance.health()["run_id"].clone());
        assert_ne!(run_ids[0], run_ids[1]);
        for (_place, instance) in instances {
            let said = instance.stop();
            assert!(said.contains("every record is acknowledged"), "{said}");
        }
        let expected: Vec<String> = (0..12).filter(|n| n % 3 < 2).map(|n| format!("L-{n:02}")).collect();
        for event in ["lot.received", "lot.completed"] {
            assert_eq!(lots(cluster, "sites", event), expected, "{event}");
        }
        let groups = cluster.tool("consumer.group.ConsumerGroupCommand", &["--list"]);
        for group in ["sites-Italia", "sites-Brasile"] {
            assert!(groups.lines().any(|line| line == group), "no {group} in {groups}");
        }
    }
}

/// The members of the group, a line each.
fn members(cluster: &Cluster) -> String {
    let args = ["--describe", "--members", "--verbose", "--group", "static"];
    cluster.tool("consumer.group.ConsumerGroupCommand", &args)
}

#[test]
fn a_static_member_is_known_by_its_name_and_comes_back_as_itself() {
    for cluster in clusters() {
        let place = place("static", "");
        let text = std::fs::read_to_string(place.path("config.toml")).unwrap();
        place.write("config.toml", &text.replace("[kafka]", "[kafka]\ngroup_instance_id = 'edge-1'"));
        let start = || place.start(&["run", "--speed", "60", "--broker", cluster.bootstrap()]);
        let made = |factory: &Running, lots: u64| {
            wait_for("its lots", || factory.health()["completed_lots"] == lots);
        };
        send_orders(cluster, "static", (0..2).map(|n| order(&format!("L-{n}"), "Italia")));
        let factory = start();
        made(&factory, 2);
        let before = members(cluster);
        assert!(before.lines().any(|line| line.contains("edge-1")), "{before}");
        factory.stop();
        // Away for less than its session, it is still a member.
        assert!(members(cluster).contains("edge-1"), "{}", members(cluster));
        send_orders(cluster, "static", [order("L-2", "Italia")]);
        let factory = start();
        made(&factory, 1);
        factory.stop();
        assert_eq!(lots(cluster, "static", "lot.received"), ["L-0", "L-1", "L-2"], "each once");
    }
}
