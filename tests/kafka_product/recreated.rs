//! The orders topic is deleted and created again while the factory reads it.

use crate::program::wait_for;
use crate::{clusters, lots, order, place, send_orders};

#[test]
fn orders_of_a_topic_that_was_created_anew_are_read_without_a_restart() {
    for cluster in clusters() {
        let place = place("anew", "");
        let factory = place.start(&["run", "--speed", "60", "--broker", cluster.bootstrap()]);
        wait_for("the broker", || factory.health()["status"] == "healthy");
        send_orders(cluster, "anew", (0..9).map(|n| order(&format!("A-{n}"), "Italia")));
        wait_for("the first topic's lots", || factory.health()["completed_lots"] == 9);
        cluster.tool("TopicCommand", &["--delete", "--topic", "anew.orders"]);
        cluster.create("anew.orders", 3);
        // A broker applies the deletion after the controller: what is sent at once may still go to the first topic.
        wait_for("the second topic", || factory.said().contains("it was created anew"));
        send_orders(cluster, "anew", (0..6).map(|n| order(&format!("B-{n}"), "Italia")));
        wait_for("the second topic's lots", || factory.health()["completed_lots"] == 15);
        wait_for("nothing to wait", || factory.health()["consumer_lag"] == 0);
        let said = factory.stop();
        assert_eq!(said.matches("it was created anew").count(), 1, "{said}");
        let received = lots(cluster, "anew", "lot.received");
        assert_eq!(received.len(), 15, "each order once: {received:?}");
    }
}
