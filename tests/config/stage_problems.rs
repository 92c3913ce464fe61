//! The line that each mistake in `[[stages]]` gets.

use crate::problems::{assert_edits, assert_problems};

#[test]
fn stages() {
    let text = "
        [[stages]]
        name = 'lot'
        machine = 'forno'
        lable = 'Forno'
        topic = 'forno'
        [[stages]]
        name = 'forno'
        machine = 'forno'
        label = 'Forno'
        topic = 'forno'
        [processing_times]
        lot = { min = 1, max = 1 }
        forno = { min = 1, max = 1 }
        [machines]
        Italia.forno = 1
    ";
    assert_problems(
        text,
        &[
            "config.toml:2: stages[0]: label is missing: expected 1 to 100 characters, none of them a control character",
            "config.toml:3: stages[0].name = 'lot': expected another name, as events use it",
            "config.toml:5: stages[0].lable: unknown key: did you mean label?",
            "config.toml:9: stages[1].machine = 'forno': expected a text of its own, other than stages[0].machine",
            "config.toml:11: stages[1].topic: expected a topic that differs from coffeemek.telemetry.forno in more than . and _",
        ],
    );
    assert_edits(&[
        (
            "label = \"Tornio automatico\"",
            "label = \"\\u0007\"",
            "stages[1].label = \"\\u0007\": expected 1 to 100 characters, none of them a control character",
        ),
        (
            "{ reason = \"Controllo qualità\" }",
            "{ reason = \"Guasto componente\" }",
            "stages[0].block_reasons[2].reason = \"Guasto componente\": \
             expected a text of its own, other than stages[0].block_reasons[1].reason",
        ),
        (
            "{ reason = \"Guasto componente\" }",
            "\"Guasto componente\"",
            "stages[0].block_reasons[1]: expected a table, found a string",
        ),
    ]);
}

#[test]
fn topics() {
    for (key, topic, expected) in [
        ("events", "coffeemek_orders.rejected", "a topic that differs from coffeemek.orders.rejected in more than . and _"),
        ("input", "coffeemek.telemetry.test", "a topic that differs from coffeemek.telemetry.test in more than . and _"),
        ("telemetry_prefix", &"a".repeat(249), "topics of at most 249 bytes with it"),
    ] {
        let text = format!("kafka.topics.{key} = \"{topic}\"");
        assert_problems(&text, &[&format!("config.toml:1: kafka.topics.{key}: expected {expected}")]);
    }
}

#[test]
fn signals() {
    assert_edits(&[
        (
            "name = \"tempo_ciclo\"",
            "name = \"luogo\"",
            "stages[0].signals[0].name = \"luogo\": expected another name, as this one has a meaning already",
        ),
        (
            "name = \"tempo_ciclo\"",
            "name = \"wear\"",
            "stages[0].signals[0].name = \"wear\": expected another name, as this one has a meaning already",
        ),
        (
            "name = \"numero_pezzi_completati\"",
            "name = \"stato_macchina\"",
            "stages[1].signals[3].name = \"stato_macchina\": expected a text of its own, other than stages[1].signals[0].name",
        ),
        (
            "kind = \"cycle_time\"",
            "kind = \"cycles\"",
            "stages[0].signals[0].kind = \"cycles\": expected one of \
             \"number\", \"integer\", \"choice\", \"list\", \"passes\", \"pieces\", \"cycle_time\"",
        ),
        ("kind = \"pieces\"", "decimals = 1\nkind = \"pieces\"", "stages[1].signals[3].decimals: unknown key"),
        ("decimals = 2", "decimals = 10", "stages[0].signals[2].decimals = 10: expected a whole number from 0 to 9"),
        (
            "min = 2, max = 8",
            "min = 2, max = 8.5",
            "stages[2].signals[1].range.max = 8.5: expected a whole number from -1000000000 to 1000000000",
        ),
        (
            "wear = 0.4",
            "waer = 0.4",
            "stages[0].signals[2].follows.waer: \
             expected wear, load, lot or an earlier number of the stage: did you mean wear?",
        ),
        (
            "follows = { lot = 0.6 }",
            "follows = { vibrazione = 0.6 }",
            "stages[0].signals[1].follows.vibrazione: expected wear, load, lot or an earlier number of the stage",
        ),
        ("wear = 0.4", "wear = 0.6", "stages[0].signals[2].follows: expected weights that sum to at most 1, found 1.100"),
        ("lot = 1 }", "lot = -1 }", "stages[2].signals[1].follows.lot = -1: expected a number from 0 to 1"),
    ]);
}

#[test]
fn choices() {
    assert_edits(&[
        (
            "value = \"Nessuno\"",
            "value = \"Nessuno\", above = 0.1",
            "stages[0].signals[3].choices[0]: the first choice is the normal case: expected no probability, above or when",
        ),
        (
            "signal = \"vibrazione\"",
            "signal = \"vibrazion\"",
            "stages[0].signals[3].signal = \"vibrazion\": \
             expected an earlier number of the stage: did you mean vibrazione?",
        ),
        (
            "signal = \"vibrazione\"",
            "signal = \"tempo_ciclo\"",
            "stages[0].signals[3].signal = \"tempo_ciclo\": expected an earlier number of the stage",
        ),
        (", when = \"idle\"", "", "stages[1].signals[0].choices[1]: expected one of probability, above and when, found 0"),
        (
            "when = \"idle\"",
            "when = \"idle\", probability = 0.1",
            "stages[1].signals[0].choices[1]: expected one of probability, above and when, found 2",
        ),
        ("when = \"idle\"", "above = 0.1", "stages[1].signals[0].choices[1].above: expected the key signal beside choices"),
        (
            "when = \"idle\"",
            "when = \"stopped\"",
            "stages[1].signals[0].choices[1].when = \"stopped\": expected one of \"idle\", \"blocked\", \"maintenance\"",
        ),
        (
            "value = \"Inattiva\"",
            "value = \"Operativa\"",
            "stages[1].signals[0].choices[1].value = \"Operativa\": \
             expected a text of its own, other than stages[1].signals[0].choices[0].value",
        ),
    ]);
}

#[test]
fn passes() {
    let many: String = (0..61).map(|n| format!("{{ name = \"{n}\" }},")).collect();
    assert_edits(&[
        ("probability = 0.95", "probability = 95", "stages[3].signals[0].probability = 95: expected a number from 0 to 1"),
        (
            "signal = \"temperatura_caldaia\"",
            "signal = \"pressione_caldaia\"",
            "stages[3].signals[0].passes[1].signal = \"pressione_caldaia\": \
             expected a text of its own, other than stages[3].signals[0].passes[0].signal",
        ),
        (
            "signal = \"temperatura_caldaia\"",
            "signal = \"temperatura\"",
            "stages[3].signals[0].passes[1].signal = \"temperatura\": expected a later number of the stage",
        ),
        (
            "name = \"rumore\"",
            "name = \"portata\"",
            "stages[3].signals[0].passes[3].name = \"portata\": \
             expected a text of its own, other than stages[3].signals[0].passes[2].name",
        ),
        ("passes = [", &format!("passes = [{many}"), "stages[3].signals[0].passes: expected 1 to 64 rows, found 66"),
    ]);
}
