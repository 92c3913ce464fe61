//! Bad orders: each rule of the wire, and the good orders around them.

use crate::broker::ToSend;
use crate::program::wait_for;
use crate::wire_check::rejected;
use crate::world::{CLIENTS, World, count, shared};
use serde_json::{Value, json};

const ORDER_BYTES_MAX: usize = 64 * 1024;

/// A good order with a field set to something else, or taken out.
fn with(code: usize, field: &str, value: Option<Value>) -> Vec<u8> {
    let mut order = json!({"codice_lotto": format!("C-{code}"), "cliente": "Moka & Figli", "quantita": 10,
                           "location": "Italia", "priorita": "normale"});
    match value {
        Some(value) => order[field] = value,
        None => drop(order.as_object_mut().unwrap().remove(field)),
    }
    order.to_string().into_bytes()
}

/// A good order made longer by a field that is not known.
fn of_length(code: usize, bytes: usize) -> Vec<u8> {
    let empty = with(code, "note", Some("".into())).len();
    with(code, "note", Some("x".repeat(bytes - empty).into()))
}

fn good() -> Vec<Vec<u8>> {
    let fields = [
        ("codice_lotto", Some("à".repeat(64).into())),
        ("cliente", Some("C".into())),
        ("cliente", Some("Đ".repeat(128).into())),
        ("quantita", Some(1.into())),
        ("quantita", Some(1_000_000.into())),
        ("priorita", None),
        ("timestamp", Some("2026-06-01T10:00:00+02:00".into())),
        ("unknown", Some(json!({"nested": [1, null]}))),
    ];
    let mut orders: Vec<_> = (0..).zip(fields).map(|(n, (field, value))| with(n, field, value)).collect();
    orders.push(of_length(orders.len(), ORDER_BYTES_MAX));
    orders
}

/// Orders that cannot be made, each with the field to be named.
fn bad() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let mut bad: Vec<(Vec<u8>, Option<&str>)> = [
        of_length(1_000, ORDER_BYTES_MAX + 1),
        of_length(1_001, 300_000),
        [&with(1_002, "note", Some("".into()))[..20], b"\xff\xfe"].concat(),
        b"\xc3".to_vec(),
        b"two espressi, please".to_vec(),
        b"{\"codice_lotto\":".to_vec(),
        b"[\"C-1\",\"Moka\",1,\"Italia\",\"alta\",null]".to_vec(),
        b"null".to_vec(),
        b"".to_vec(),
        b"{\"codice_lotto\":\"C-1003\",\"codice_lotto\":\"C-1004\"}".to_vec(),
    ]
    .map(|record| (record, None))
    .into();
    let fields: [(&str, Vec<Option<Value>>); 6] = [
        (
            "codice_lotto",
            vec![
                None,
                Some(7.into()),
                Some(Value::Null),
                Some("".into()),
                Some("C".repeat(65).into()),
                Some("C\u{1}".into()),
            ],
        ),
        ("cliente", vec![None, Some(json!(["Moka"])), Some("".into()), Some("é".repeat(129).into())]),
        (
            "quantita",
            vec![
                None,
                Some("10".into()),
                Some(2.5.into()),
                Some(true.into()),
                Some(0.into()),
                Some((-1).into()),
                Some(1_000_001.into()),
                Some(u64::MAX.into()),
            ],
        ),
        ("location", vec![None, Some(3.into()), Some("Atlantide".into()), Some("italia".into()), Some("".into())]),
        ("priorita", vec![Some(1.into()), Some("urgente".into()), Some("ALTA".into()), Some("".into())]),
        ("timestamp", vec![Some(1_750_865_400.into()), Some("yesterday".into()), Some("2026-02-30T10:00:00Z".into())]),
    ];
    for (field, values) in fields {
        for value in values {
            bad.push((with(2_000 + bad.len(), field, value), Some(field)));
        }
    }
    // Of lots that are in progress or completed by then.
    bad.push((good()[1].clone(), Some("codice_lotto")));
    bad.push((with(3, "location", Some("Brasile".into())), Some("codice_lotto")));
    bad
}

#[test]
fn bad_orders_are_rejected_by_the_rule_they_break_and_the_good_ones_around_them_are_made() {
    let Some(cluster) = shared() else { return };
    for client in CLIENTS {
        let world = World::new(cluster, "bad-orders", client, "", "");
        world.in_one_partition("orders");
        let (good, bad) = (good(), bad());
        let mut expected = Vec::new();
        let mut records = Vec::new();
        let mut good_left = good.iter();
        for (order, field) in &bad {
            records.extend(good_left.next());
            expected.push((records.len() as u64, order, *field));
            records.push(order);
        }
        assert_eq!(good_left.next(), None);
        let to_send = |bytes: &&Vec<u8>| ToSend { bytes: Some(bytes.to_vec()), ..ToSend::default() };
        world.order(&records.iter().map(to_send).collect::<Vec<_>>());

        let factory = world.start(&["--speed", "60"]);
        wait_for("the rejections", || count(&factory, "rejected_orders") == bad.len() as u64);
        wait_for("the good lots", || count(&factory, "completed_lots") == good.len() as u64);
        let said = factory.stop();
        let warnings = said.lines().filter(|line| line.contains("[WARN] order at partition 0, offset")).count();
        assert_eq!(warnings, bad.len(), "{said}");

        let mut sent = world.check();
        assert_eq!(sent.ledger.completed.len(), good.len());
        sent.rejected.sort_by_key(|record| record.value["offset"].as_u64());
        assert_eq!(sent.rejected.len(), expected.len());
        for (record, (offset, order, field)) in sent.rejected.iter().zip(expected) {
            let text = String::from_utf8_lossy(order);
            assert_eq!(record.value["offset"], offset);
            assert_eq!(record.value["partition"], 0);
            assert_eq!(record.value["topic"], world.topic("orders"));
            assert_eq!(rejected(record), field, "{text:.100}: {}", record.value["reason"]);
            let payload = record.value["payload"].as_str().unwrap();
            assert!(text.starts_with(payload) && payload.len() >= text.len().min(4_000), "{payload:.100} of {text:.100}");
        }
    }
}
