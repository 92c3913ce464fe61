//! A plant an instance.

use crate::program::wait_for;
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
