//! `[[stages.signals]]`: a stage's own telemetry fields.

use super::reader::{Item, Section, did_you_mean, refuse_duplicates};
use super::rules::{self, Rule, integer, number};
use super::stages::rows;
use crate::factory::plan::{self, Choice, Choices, Level, Pass, Signal, SignalKind, Source};
use crate::wire::TELEMETRY_FIELDS;

/// What a level may follow besides other signals.
const SOURCES: [(&str, Source); 3] = [("wear", Source::Wear), ("load", Source::Load), ("lot", Source::Lot)];

/// The largest number a signal may take, so that it has room for its decimals in an `i64`.
const NUMBER_MAX: f64 = 1e9;

/// Weights may sum to so much more than 1, as decimal fractions are inexact.
const WEIGHT_TOLERANCE: f64 = 1e-9;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Integer,
    Choice,
    List,
    Passes,
    Pieces,
    CycleTime,
}

fn kind_rule() -> Rule<Kind> {
    rules::word(&[
        ("number", Kind::Number),
        ("integer", Kind::Integer),
        ("choice", Kind::Choice),
        ("list", Kind::List),
        ("passes", Kind::Passes),
        ("pieces", Kind::Pieces),
        ("cycle_time", Kind::CycleTime),
    ])
}

/// The signals of a stage.
pub(super) fn read(stage: &mut Section<'_, '_>) -> Vec<Signal> {
    let rows = rows(stage, "signals", 0);
    refuse_duplicates(rows.iter().filter_map(|row| row.child("name")), stage.problems);
    let signal = |(index, row): (usize, &Item<'_>)| {
        let at = Place { rows: &rows, index };
        Section::read_with(Some(row.clone()), None, stage.problems, |section| signal(section, at))
    };
    rows.iter().enumerate().filter_map(signal).collect()
}

fn signal(section: &mut Section<'_, '_>, at: Place<'_, '_>) -> Option<Signal> {
    let name = section.read("name", &rules::name());
    if let Some(item) = section.find("name")
        && (TELEMETRY_FIELDS.contains(&name.as_str()) || SOURCES.iter().any(|(source, _)| *source == name))
    {
        item.unexpected("another name, as this one has a meaning already", section.problems);
    }
    let Some(kind) = section.required("kind", &kind_rule()) else {
        section.abandon();
        return None;
    };
    let kind = match kind {
        Kind::Number => {
            let decimals = section.read("decimals", &integer(0..=9));
            SignalKind::Number(level(section, decimals, &number(-NUMBER_MAX..=NUMBER_MAX), at))
        }
        Kind::Integer => {
            let whole = integer(-NUMBER_MAX as i64..=NUMBER_MAX as i64).map(|number| number as f64);
            SignalKind::Integer(level(section, 0, &whole, at))
        }
        Kind::Choice => SignalKind::Choice(choices(section, kind, at)),
        Kind::List => SignalKind::List(choices(section, kind, at)),
        Kind::Passes => {
            SignalKind::Passes { passes: passes(section, at), probability: section.read("probability", &number(0.0..=1.0)) }
        }
        Kind::Pieces => SignalKind::Pieces,
        Kind::CycleTime => SignalKind::CycleTime { decimals: section.read("decimals", &integer(0..=9)) },
    };
    Some(Signal { name: name.into(), kind })
}

fn level(section: &mut Section<'_, '_>, decimals: u8, rule: &Rule<f64>, at: Place<'_, '_>) -> Level {
    Level {
        range: section.range("range", rule),
        decimals,
        follows: follows(section, at),
        when_blocked: section.optional("when_blocked", rule),
    }
}

/// The weights by source, filled up to 1 with noise.
fn follows(section: &mut Section<'_, '_>, at: Place<'_, '_>) -> Vec<(Source, f64)> {
    let table = section.find("follows").and_then(|item| item.table(section.problems));
    let weight = number(0.0..=1.0);
    let mut follows = Vec::new();
    for item in table.iter().flat_map(Item::children) {
        let source = at.source(&item, section);
        let weight = item.read(&weight, section.problems);
        follows.extend(source.zip(weight));
    }
    let sum: f64 = follows.iter().map(|(_, weight)| weight).sum();
    if let Some(table) = table.filter(|_| sum > 1.0 + WEIGHT_TOLERANCE) {
        table.problem(&format!("expected weights that sum to at most 1, found {sum:.3}"), section.problems);
    }
    if sum < 1.0 - WEIGHT_TOLERANCE {
        follows.push((Source::Noise, 1.0 - sum));
    }
    follows
}

fn choices(section: &mut Section<'_, '_>, kind: Kind, at: Place<'_, '_>) -> Choices {
    let signal = reference(section, &at.earlier(), "an earlier number of the stage");
    let has_signal = section.own_child("signal").is_some();
    let rows = rows(section, "choices", 1);
    refuse_duplicates(rows.iter().filter_map(|row| row.child("value")), section.problems);
    let choice = |(index, row)| {
        let is_normal = kind == Kind::Choice && index == 0;
        Section::read_with(Some(row), None, section.problems, |section| choice(section, is_normal, has_signal))
    };
    Choices { signal, choices: rows.into_iter().enumerate().map(choice).collect() }
}

fn choice(section: &mut Section<'_, '_>, is_normal: bool, has_signal: bool) -> Choice {
    let value = section.read("value", &rules::name());
    let level = number(0.0..=1.0);
    let probability = section.optional("probability", &level).map(plan::Rule::Probability);
    let above = section.optional("above", &level).map(plan::Rule::Above);
    let when = section.optional("when", &when_rule());
    let keys = ["probability", "above", "when"].iter().filter(|key| section.own_child(key).is_some()).count();
    match (is_normal, keys) {
        (true, 0) | (false, 1) => {}
        (true, _) => section.problem("the first choice is the normal case: expected no probability, above or when"),
        (false, _) => section.problem(&format!("expected one of probability, above and when, found {keys}")),
    }
    if let Some(item) = section.own_child("above").filter(|_| !has_signal) {
        item.problem("expected the key signal beside choices", section.problems);
    }
    Choice { value: value.into(), rule: probability.or(above).or(when).unwrap_or(plan::Rule::Otherwise) }
}

fn when_rule() -> Rule<plan::Rule> {
    rules::word(&[("idle", plan::Rule::Idle), ("blocked", plan::Rule::Blocked), ("maintenance", plan::Rule::Maintenance)])
}

fn passes(section: &mut Section<'_, '_>, at: Place<'_, '_>) -> Vec<Pass> {
    let rows = rows(section, "passes", 1);
    for key in ["name", "signal"] {
        refuse_duplicates(rows.iter().filter_map(|row| row.child(key)), section.problems);
    }
    let later = at.later();
    let pass = |section: &mut Section<'_, '_>| Pass {
        name: section.read("name", &rules::name()).into(),
        signal: reference(section, &later, "a later number of the stage"),
    };
    rows.into_iter().map(|row| Section::read_with(Some(row), None, section.problems, pass)).collect()
}

/// A signal's row among those of its stage.
#[derive(Clone, Copy)]
struct Place<'d, 'r> {
    rows: &'r [Item<'d>],
    index: usize,
}

/// Rows that may be referred to, by name.
type Named<'d> = Vec<(&'d str, u16)>;

impl<'d> Place<'d, '_> {
    /// What a level may follow.
    fn earlier(&self) -> Named<'d> {
        self.named(0..self.index, &["number", "integer"])
    }

    /// What a test may judge.
    fn later(&self) -> Named<'d> {
        self.named(self.index + 1..self.rows.len(), &["number"])
    }

    fn named(&self, range: std::ops::Range<usize>, kinds: &[&str]) -> Named<'d> {
        let named = |index: usize| {
            let row = &self.rows[index];
            let is_kind = kinds.contains(&row.child("kind")?.as_str()?);
            Some((row.child("name")?.as_str()?, u16::try_from(index).ok()?)).filter(|_| is_kind)
        };
        range.filter_map(named).collect()
    }

    fn source(&self, item: &Item<'_>, section: &mut Section<'_, '_>) -> Option<Source> {
        let earlier = self.earlier();
        let fixed = SOURCES.iter().find(|(name, _)| *name == item.key).map(|(_, source)| *source);
        let source = fixed.or_else(|| lookup(&earlier, item.key).map(Source::Signal));
        if source.is_none() {
            let names: Vec<_> = SOURCES.iter().map(|(name, _)| *name).chain(earlier.iter().map(|(name, _)| *name)).collect();
            let text =
                format!("expected wear, load, lot or an earlier number of the stage{}", did_you_mean(item.key, &names));
            item.problem(&text, section.problems);
        }
        source
    }
}

fn lookup(named: &Named<'_>, name: &str) -> Option<u16> {
    named.iter().find(|(other, _)| *other == name).map(|(_, index)| *index)
}

/// The row that the key `signal` refers to.
fn reference(section: &mut Section<'_, '_>, named: &Named<'_>, expected: &str) -> Option<u16> {
    let item = section.find("signal")?;
    let name = item.as_str().unwrap_or_default();
    let index = lookup(named, name);
    if index.is_none() {
        let names: Vec<_> = named.iter().map(|(name, _)| *name).collect();
        item.unexpected(&format!("{expected}{}", did_you_mean(name, &names)), section.problems);
    }
    index
}
