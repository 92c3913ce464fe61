//! Orders in.

use crate::{plan, topics};
use mokasim::factory;
use mokasim::units::{Priority, SimTime, SiteId};
use mokasim::wire::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

/// An order that keeps every rule.
fn good() -> Value {
    json!({
        "codice_lotto": "L-2025-0001",
        "cliente": "Acme Corp",
        "quantita": 100,
        "location": "Italia",
        "priorita": "alta",
        "timestamp": "2025-06-25T10:00:00Z",
    })
}

/// The good order with one member changed.
fn with(field: &str, value: Value) -> Vec<u8> {
    let mut order = good();
    order[field] = value;
    order.to_string().into_bytes()
}

/// The good order with one member less.
fn without(field: &str) -> Vec<u8> {
    let mut order = good();
    order.as_object_mut().unwrap().remove(field);
    order.to_string().into_bytes()
}

fn rejection(payload: &[u8]) -> Rejection {
    match parse_order(payload, &plan()) {
        Err(rejection) => rejection,
        Ok(order) => panic!("taken: {order:?} from {}", String::from_utf8_lossy(payload)),
    }
}

#[test]
fn a_good_order_is_taken_without_a_copy() {
    let payload = good().to_string();
    let order = parse_order(payload.as_bytes(), &plan()).unwrap();
    let expected = factory::Order {
        code: "L-2025-0001",
        client: "Acme Corp",
        quantity: 100,
        site: SiteId(0),
        priority: Priority::High,
    };
    assert_eq!(order.as_factory(), expected);
    assert_eq!(order.timestamp, Some(SimTime(1_750_845_600_000)));
    assert!(matches!((&order.code, &order.client), (Cow::Borrowed(_), Cow::Borrowed(_))));
}

#[test]
fn what_is_optional_may_be_absent_but_not_null() {
    assert_eq!(parse_order(&without("priorita"), &plan()).unwrap().priority, Priority::Normal);
    assert_eq!(parse_order(&without("timestamp"), &plan()).unwrap().timestamp, None);
    for field in ["priorita", "timestamp"] {
        assert_eq!(parse_order(&with(field, Value::Null), &plan()).unwrap_err().field, Some(field));
    }
}

#[test]
fn every_word_of_a_choice_is_known() {
    for (site, name) in (0u16..).zip(["Italia", "Brasile", "Vietnam"]) {
        assert_eq!(parse_order(&with("location", name.into()), &plan()).unwrap().site, SiteId(site));
    }
    for (priority, word) in Priority::ALL.into_iter().zip(["alta", "normale", "bassa"]) {
        assert_eq!(parse_order(&with("priorita", word.into()), &plan()).unwrap().priority, priority);
    }
}

#[test]
fn the_ends_of_every_range_are_taken() {
    for (field, value) in [
        ("codice_lotto", json!("x")),
        ("codice_lotto", json!("è".repeat(64))),
        ("cliente", json!("☕".repeat(128))),
        ("cliente", json!("two\nlines")),
        ("quantita", json!(1)),
        ("quantita", json!(1_000_000)),
    ] {
        parse_order(&with(field, value.clone()), &plan()).unwrap_or_else(|rejection| panic!("{value}: {rejection}"));
    }
}

#[test]
fn a_field_that_breaks_its_rule_is_named() {
    for field in ["codice_lotto", "cliente", "quantita", "location"] {
        assert_eq!(rejection(&without(field)).field, Some(field));
    }
    for (field, value) in [
        ("codice_lotto", json!("")),
        ("codice_lotto", json!("x".repeat(65))),
        ("codice_lotto", json!("L\n1")),
        ("codice_lotto", json!("L\u{85}1")),
        ("codice_lotto", json!(1)),
        ("codice_lotto", Value::Null),
        ("codice_lotto", json!(["L-1"])),
        ("cliente", json!("")),
        ("cliente", json!("x".repeat(129))),
        ("cliente", json!({"name": "Acme"})),
        ("quantita", json!(0)),
        ("quantita", json!(-1)),
        ("quantita", json!(1_000_001)),
        ("quantita", json!(u64::MAX)),
        ("quantita", json!(1.5)),
        ("quantita", json!(100.0)),
        ("quantita", json!("100")),
        ("quantita", json!(true)),
        ("location", json!("Francia")),
        ("location", json!("italia")),
        ("location", json!(0)),
        ("priorita", json!("urgente")),
        ("priorita", json!("")),
        ("priorita", json!(1)),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("2025-06-25T10:00:00")),
        ("timestamp", json!(1_750_845_600_000_i64)),
    ] {
        assert_eq!(rejection(&with(field, value.clone())).field, Some(field), "{value}");
    }
}

#[test]
fn a_reason_says_what_was_found_and_what_was_expected() {
    let reason = |field, value| rejection(&with(field, value)).to_string();
    assert_eq!(reason("quantita", json!(0)), "quantita: expected an integer from 1 to 1000000, found 0");
    assert_eq!(reason("cliente", json!(7)), "cliente: expected a string of 1 to 128 characters, found 7");
    assert_eq!(reason("location", json!("Francia")), "location: expected one of Italia, Brasile, Vietnam, found Francia");
    assert_eq!(reason("priorita", json!("ALTA")), "priorita: expected one of alta, normale, bassa, found ALTA");
    assert_eq!(reason("codice_lotto", json!("a\tb")), r"codice_lotto: expected no control character, found \t");
    assert_eq!(
        reason("timestamp", json!("noon")),
        "timestamp: expected an RFC 3339 date-time such as 2025-06-25T10:00:00Z, found noon"
    );
    assert_eq!(reason("cliente", json!(null)), "cliente: expected a string of 1 to 128 characters, found null");
    assert_eq!(rejection(&without("cliente")).reason, "expected a string of 1 to 128 characters, found none");
    assert_eq!(Rejection::duplicate("L-1").to_string(), "codice_lotto: expected a new lot code, found L-1");
}

#[test]
fn a_record_that_is_no_object_is_rejected_as_a_whole() {
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let list = r#"["L-1","Acme",1,"Italia","alta",null]"#;
    let twice = r#"{"codice_lotto":"L-1","codice_lotto":"L-2","cliente":"Acme","quantita":1,"location":"Italia"}"#;
    let payloads =
        ["", " ", "null", "7", "\"L-1\"", list, &nested, "{", r#"{"codice_lotto":}"#, "{} {}", "\u{feff}{}", twice];
    for payload in payloads {
        assert_eq!(rejection(payload.as_bytes()).field, None, "{payload:.40}");
    }
    assert_eq!(rejection(b"{\"codice_lotto\":\"L-\xff\"}").reason, "expected UTF-8, found a bad byte at 19");
    assert!(rejection(twice.as_bytes()).reason.contains("duplicate field `codice_lotto`"));
}

#[test]
fn half_a_surrogate_pair_is_no_string() {
    let payload = br#"{"codice_lotto":"L-\ud800","cliente":"Acme","quantita":1,"location":"Italia"}"#;
    assert_eq!(rejection(payload).field, Some("codice_lotto"));
}

#[test]
fn a_record_may_have_64_kib_and_no_byte_more() {
    let empty = with("note", "".into());
    let filled = |bytes: usize| with("note", "x".repeat(bytes - empty.len()).into());
    assert!(parse_order(&filled(ORDER_BYTES_MAX), &plan()).is_ok());
    assert_eq!(rejection(&filled(ORDER_BYTES_MAX + 1)).reason, "expected at most 65536 bytes, found 65537");
}

#[test]
fn unknown_members_are_ignored_however_deep() {
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let payload = good().to_string().replacen('{', &format!("{{\"note\":{nested},\"note\":1,"), 1);
    assert!(parse_order(payload.as_bytes(), &plan()).is_ok());
}

#[test]
fn a_spool_record_gives_its_value_byte_for_byte() {
    let value = r#"{ "quantita": 1e2,  "codice_lotto":"L\u002d1" }"#;
    let line = format!(r#"{{"key": "L-1", "timestamp": 1750865400000, "headers": {{}}, "value": {value}}}"#);
    let read = order_line(line.as_bytes());
    assert_eq!(read, OrderLine { payload: Cow::Borrowed(value.as_bytes()), timestamp: Some(SimTime(1_750_865_400_000)) });
    // A value that was no JSON is a string of its text.
    let read = order_line(br#"{"key":"","timestamp":"?","value":"{\"codice_lotto\":"}"#);
    assert_eq!(read, OrderLine { payload: Cow::Borrowed(br#"{"codice_lotto":"#), timestamp: None });
}

#[test]
fn any_other_line_is_its_own_payload() {
    let bare = with("value", json!({"note": 1}));
    for line in [&bare[..], b"", b"{}", b"{\"value\":", b"[1,2,3]", b"\xff\xfe", b"{\"value\":1,\"value\":2}"] {
        assert_eq!(order_line(line), OrderLine { payload: Cow::Borrowed(line), timestamp: None });
    }
}

#[test]
fn a_rejected_payload_is_cut_between_characters() {
    let (plan, topics) = (plan(), topics());
    let mut encoder = Encoder::new(&plan, &topics, "0badcafe").unwrap();
    let rejection = rejection(b"");
    for (payload, expected) in [
        ("è".repeat(3000).into_bytes(), "è".repeat(2048)),
        (format!("x{}", "è".repeat(3000)).into_bytes(), format!("x{}", "è".repeat(2047))),
        (vec![0xff; 3000], "\u{fffd}".repeat(1365)),
        (b"{\"a\":\"\xff\"}".to_vec(), "{\"a\":\"\u{fffd}\"}".to_owned()),
    ] {
        let encoded = encoder.encode_rejected(SimTime(0), &rejection, (3, 1 << 40), &payload);
        let record = encoded.record();
        let value: Value = serde_json::from_slice(record.value).unwrap();
        assert_eq!(value["payload"], expected);
        assert_eq!((record.key, record.topic), (&b"3-1099511627776"[..], topics.rejected_id()));
    }
}

/// JSON of any shape, with the names of an order's fields among its members.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
        prop::sample::select(vec!["Italia", "alta", "2025-06-25T10:00:00Z"]).prop_map(Value::from),
    ];
    let fields = ["codice_lotto", "cliente", "quantita", "location", "priorita", "timestamp", "value", "note"];
    leaf.prop_recursive(4, 32, 8, move |inner| {
        let names = prop::sample::select(fields.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What holds for every payload, good or bad.
fn check(payload: &[u8]) -> Result<(), TestCaseError> {
    if let Err(rejection) = parse_order(payload, &plan()) {
        let text = rejection.to_string();
        prop_assert!(!rejection.reason.is_empty() && text.chars().count() < 450, "{}", text);
        prop_assert!(!text.contains(char::is_control), "{:?}", text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_stop_the_intake(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&payload)?;
        check(&order_line(&payload).payload)?;
    }

    #[test]
    fn no_json_stops_the_intake(json in any_json(), cut in any::<prop::sample::Index>()) {
        let payload = json.to_string();
        check(payload.as_bytes())?;
        check(&order_line(payload.as_bytes()).payload)?;
        check(&payload.as_bytes()[..cut.index(payload.len())])?;
    }

    #[test]
    fn an_order_with_one_field_of_any_kind_is_read_or_rejected(
        field in prop::sample::select(vec!["codice_lotto", "cliente", "quantita", "location", "priorita", "timestamp"]),
        value in any_json(),
    ) {
        match parse_order(&with(field, value), &plan()) {
            Ok(_) => {}
            Err(rejection) => prop_assert_eq!(rejection.field, Some(field)),
        }
    }

    #[test]
    fn a_good_order_is_read_as_it_was_written(
        code in "[^\\p{Cc}]{1,64}",
        client in "(?s).{1,128}",
        quantity in 1u32..=1_000_000,
        site in 0usize..3,
        priority in prop::sample::select(Priority::ALL.to_vec()),
        seconds in prop::option::of(0i64..253_402_300_800),
    ) {
        let plan = plan();
        let timestamp = seconds.map(|seconds| SimTime(seconds * 1000));
        let mut payload = json!({
            "codice_lotto": code,
            "cliente": client,
            "quantita": quantity,
            "location": plan.sites[site].name,
            "priorita": priority.as_str(),
        });
        if let Some(at) = timestamp {
            payload["timestamp"] = String::from_utf8(rfc3339_utc(at).to_vec()).unwrap().into();
        }
        let payload = payload.to_string();
        let expected = CheckedOrder {
            code: code.into(),
            client: client.into(),
            quantity,
            site: SiteId(site as u16),
            priority,
            timestamp,
        };
        prop_assert_eq!(parse_order(payload.as_bytes(), &plan), Ok(expected));
    }
}
