//! Whatever a file says, it is read or refused with one line a problem.

use crate::load;
use mokasim::config::BUILT_IN;
use mokasim::factory::plan::{Choices, Plan, SignalKind, Source};
use proptest::prelude::*;

/// A change of one line.
#[derive(Clone, Debug)]
enum Change {
    Delete,
    Duplicate,
    /// Moves it to another place.
    Move(prop::sample::Index),
    /// Puts a text over a stretch of it.
    Overwrite(prop::sample::Index, usize, String),
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let token = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        "[[",
        "]]",
        "=",
        ".",
        ",",
        "\"",
        "'''",
        "\\",
        "#",
        "\n",
        "\r",
        "\0",
        "é",
        " = {}",
        " = [[]]",
        "-1",
        "1e999",
        "nan",
        "0x",
        "9223372036854775808",
        "1979-05-27",
        "true",
        "[stages]\n",
        "[[machines]]\n",
        "[[kafka.topics]]\n",
    ]);
    let text = prop_oneof![token.prop_map(str::to_owned), "[a-z_.=\\[\\]{}\"0-9 ]{0,12}", any::<String>()];
    let change = prop_oneof![
        Just(Change::Delete),
        Just(Change::Duplicate),
        any::<prop::sample::Index>().prop_map(Change::Move),
        (any::<prop::sample::Index>(), 0_usize..8, text).prop_map(|(at, length, text)| Change::Overwrite(at, length, text)),
    ];
    (any::<prop::sample::Index>(), change)
}

fn apply(lines: &mut Vec<String>, (line, change): &(prop::sample::Index, Change)) {
    if lines.is_empty() {
        return;
    }
    let line = line.index(lines.len());
    match change {
        Change::Delete => drop(lines.remove(line)),
        Change::Duplicate => lines.insert(line, lines[line].clone()),
        Change::Move(to) => {
            let text = lines.remove(line);
            lines.insert(to.index(lines.len() + 1), text);
        }
        Change::Overwrite(at, length, text) => {
            let chars: Vec<char> = lines[line].chars().collect();
            let at = at.index(chars.len() + 1);
            let rest = &chars[(at + length).min(chars.len())..];
            lines[line] = chars[..at].iter().chain(&text.chars().collect::<Vec<_>>()).chain(rest).collect();
        }
    }
}

/// What the factory relies on.
fn assert_sound(plan: &Plan) {
    assert!(!plan.stages.is_empty() && !plan.sites.is_empty());
    for site in &plan.sites {
        assert!(site.machines.len() == plan.stages.len() && site.machines.iter().all(|count| *count > 0), "{site:?}");
    }
    for stage in &plan.stages {
        assert!(stage.duration.min.0 > 0 && stage.duration.min <= stage.duration.max, "{stage:?}");
        for (index, signal) in stage.signals.iter().enumerate() {
            let is_earlier = |other: usize| {
                other < index && matches!(stage.signals[other].kind, SignalKind::Number(_) | SignalKind::Integer(_))
            };
            match &signal.kind {
                SignalKind::Number(level) | SignalKind::Integer(level) => {
                    let sum: f64 = level.follows.iter().map(|(_, weight)| weight).sum();
                    assert!((sum - 1.0).abs() < 1e-6 && level.range.min <= level.range.max, "{signal:?}");
                    for (source, _) in &level.follows {
                        assert!(!matches!(source, Source::Signal(other) if !is_earlier((*other).into())), "{signal:?}");
                    }
                }
                SignalKind::Choice(Choices { signal: other, choices })
                | SignalKind::List(Choices { signal: other, choices }) => {
                    assert!(other.is_none_or(|other| is_earlier(other.into())), "{signal:?}");
                    assert!((1..=64).contains(&choices.len()), "{signal:?}");
                }
                SignalKind::Passes { passes, .. } => {
                    let is_later = |other: u16| usize::from(other) > index && usize::from(other) < stage.signals.len();
                    assert!(passes.iter().all(|pass| pass.signal.is_none_or(is_later)), "{signal:?}");
                }
                SignalKind::Pieces | SignalKind::CycleTime { .. } => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_damaged_file_is_read_or_refused(changes in prop::collection::vec(change(), 1..6)) {
        let mut lines: Vec<String> = BUILT_IN.lines().map(str::to_owned).collect();
        for change in &changes {
            apply(&mut lines, change);
        }
        match load(&lines.join("\n")) {
            Ok(config) => assert_sound(&config.plan),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(!problem.contains(char::is_control), "{problem:?}");
                    let line = problem.strip_prefix("config.toml:").and_then(|rest| rest.split_once(": "));
                    prop_assert!(line.is_some_and(|(line, _)| line.parse::<usize>().is_ok()), "{problem}");
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = load(&text);
    }
}
