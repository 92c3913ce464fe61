//! From a machine's condition to the values of its telemetry.

use super::draws::{Key, What};
use super::plan::{Choices, Level, Rule, Signal, SignalKind, Source, Stage};
use super::slots::MachineState;
use crate::units::Span;

/// Powers of ten by decimal places.
const SCALES: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// What a record is taken of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) state: MachineState,
    /// The block is maintenance.
    pub(super) maintenance: bool,
    pub(super) wear: f64,
    pub(super) load: f64,
    /// The lot's quantity, its work on this machine, and how much of that is done.
    pub(super) quantity: u32,
    pub(super) work: Span,
    pub(super) done: Span,
    /// Draws of the lot at this stage, or of the idle machine.
    pub(super) lot: Key,
    /// Draws of the record.
    pub(super) record: Key,
}

/// The values a signal can be sent as: whole numbers of its smallest decimal place.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    scale: f64,
    min: f64,
    width: f64,
    /// The range, rounded inwards.
    within: (i64, i64),
    /// The middle of the range, without its outer tenths.
    middle: (i64, i64),
    /// The last value of the lower tenth and the first of the upper one. A value on the border itself belongs to neither
    /// side, so that no reader's rounding takes it for the other.
    outer: (i64, i64),
}

impl Grid {
    fn new(level: &Level) -> Self {
        // Absorbs the error of products such as 0.07 * 100.
        const SLACK: f64 = 1e-6;
        let scale = scale(level.decimals);
        let (min, width) = (level.range.min, level.range.max - level.range.min);
        let at = |level: f64| (min + level * width) * scale;
        Self {
            scale,
            min,
            width,
            within: ((at(0.0) - SLACK).ceil() as i64, (at(1.0) + SLACK).floor() as i64),
            middle: ((at(0.1) + SLACK).floor() as i64 + 1, (at(0.9) - SLACK).ceil() as i64 - 1),
            outer: ((at(0.1) - SLACK).ceil() as i64 - 1, (at(0.9) + SLACK).floor() as i64 + 1),
        }
    }

    fn value(&self, number: f64) -> i64 {
        round(number * self.scale)
    }

    /// The value at this level, kept on its side of the outer tenths once a test has given its verdict.
    fn value_at(&self, level: f64, verdict: Option<bool>) -> i64 {
        let value = |level: f64| self.value(self.min + level * self.width);
        let clamp = |value: i64, (min, max): (i64, i64)| value.min(max).max(min);
        let value = match verdict {
            None => value(level),
            Some(true) => clamp(value(0.1 + 0.8 * level), self.middle),
            Some(false) if level < 0.5 => value(0.2 * level).min(self.outer.0),
            Some(false) => value(1.0 - 0.2 * (1.0 - level)).max(self.outer.1),
        };
        clamp(value, self.within)
    }

    /// The level that a reader of the value sees.
    fn level_of(&self, value: i64) -> f64 {
        if self.width > 0.0 { ((value as f64 / self.scale - self.min) / self.width).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The signals of a stage, ready to be read.
#[derive(Debug)]
pub(super) struct Signals {
    rows: Vec<Signal>,
    /// For each row; only numbers use theirs.
    grids: Vec<Grid>,
}

/// Room to work in, used again for each record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) values: Vec<i64>,
    /// Levels of the numbers so far, for those that follow them.
    levels: Vec<f64>,
    /// What a test said about a later number.
    verdicts: Vec<Option<bool>>,
}

impl Signals {
    pub(super) fn new(stage: &Stage) -> Self {
        const UNUSED: Grid = Grid { scale: 1.0, min: 0.0, width: 0.0, within: (0, 0), middle: (0, 0), outer: (0, 0) };
        let grid = |signal: &Signal| match &signal.kind {
            SignalKind::Number(level) | SignalKind::Integer(level) => Grid::new(level),
            _ => UNUSED,
        };
        Self { grids: stage.signals.iter().map(grid).collect(), rows: stage.signals.clone() }
    }

    /// Fills `scratch.values` with the record's values, one for each signal.
    pub(super) fn read(&self, moment: &Moment, scratch: &mut Scratch) {
        scratch.values.clear();
        scratch.levels.clear();
        scratch.levels.resize(self.rows.len(), 0.0);
        scratch.verdicts.clear();
        scratch.verdicts.resize(self.rows.len(), None);
        for (i, signal) in self.rows.iter().enumerate() {
            let value = match &signal.kind {
                SignalKind::Number(level) | SignalKind::Integer(level) => {
                    let value = moment.number(i, level, &self.grids[i], scratch);
                    scratch.levels[i] = self.grids[i].level_of(value);
                    value
                }
                SignalKind::Choice(choices) => moment.choice(i, choices, &scratch.levels),
                SignalKind::List(choices) => moment.list(i, choices, &scratch.levels),
                SignalKind::Passes { passes, probability } => {
                    let mut bits = 0;
                    for (n, pass) in passes.iter().enumerate() {
                        let passed = moment.passes(i, n, *probability);
                        bits |= i64::from(passed) << n;
                        if let Some(signal) = pass.signal {
                            let verdict = &mut scratch.verdicts[usize::from(signal)];
                            *verdict = Some(passed && verdict.unwrap_or(true));
                        }
                    }
                    bits
                }
                SignalKind::Pieces => moment.pieces(),
                SignalKind::CycleTime { decimals } => round(moment.work.0 as f64 * scale(*decimals) / 60_000.0),
            };
            scratch.values.push(value);
        }
    }
}

impl Moment {
    /// Pieces of the lot that are finished: all of them when its work is done and not before.
    fn pieces(&self) -> i64 {
        (i128::from(self.quantity) * i128::from(self.done.0) / i128::from(self.work.0.max(1))) as i64
    }

    fn number(&self, signal: usize, level: &Level, grid: &Grid, scratch: &Scratch) -> i64 {
        match level.when_blocked {
            Some(number) if self.state != MachineState::Busy => grid.value(number),
            _ => grid.value_at(self.level(signal, level, &scratch.levels), scratch.verdicts[signal]),
        }
    }

    fn level(&self, signal: usize, level: &Level, levels: &[f64]) -> f64 {
        let source = |source| match source {
            Source::Wear => self.wear,
            Source::Load => self.load,
            Source::Lot => self.lot.draw(What::Lot, signal as u64).unit(),
            Source::Noise => self.record.draw(What::Noise, signal as u64).unit(),
            Source::Signal(earlier) => levels[usize::from(earlier)],
        };
        level.follows.iter().map(|&(from, weight)| weight * source(from)).sum::<f64>().clamp(0.0, 1.0)
    }

    fn choice(&self, signal: usize, choices: &Choices, levels: &[f64]) -> i64 {
        let taken = |n: &usize| self.holds(signal, *n, choices, levels).unwrap_or(true);
        (0..choices.choices.len()).rev().find(taken).unwrap_or(0) as i64
    }

    fn list(&self, signal: usize, choices: &Choices, levels: &[f64]) -> i64 {
        (0..choices.choices.len()).rev().fold(0, |taken, n| {
            let holds = self.holds(signal, n, choices, levels).unwrap_or(taken == 0);
            taken | i64::from(holds) << n
        })
    }

    /// Whether the rule of a text holds; `None`: if none of the later ones does.
    fn holds(&self, signal: usize, text: usize, choices: &Choices, levels: &[f64]) -> Option<bool> {
        Some(match choices.choices[text].rule {
            Rule::Otherwise => return None,
            // An idle machine makes nothing that could go wrong.
            Rule::Probability(chance) => self.state != MachineState::Idle && self.happens(What::Text, signal, text, chance),
            Rule::Above(level) => choices.signal.is_some_and(|followed| levels[usize::from(followed)] > level),
            Rule::Idle => self.state == MachineState::Idle,
            Rule::Blocked => self.state == MachineState::Blocked,
            Rule::Maintenance => self.state == MachineState::Blocked && self.maintenance,
        })
    }

    fn passes(&self, signal: usize, test: usize, chance: f64) -> bool {
        self.state == MachineState::Idle || self.happens(What::Pass, signal, test, chance)
    }

    fn happens(&self, what: What, signal: usize, item: usize, chance: f64) -> bool {
        self.record.draw(what, (signal as u64) << 8 | item as u64).unit() < chance
    }
}

/// Half away from zero. `f64::round` does the same, but as a call where the target has no instruction for it.
fn round(number: f64) -> i64 {
    (number + 0.5f64.copysign(number)) as i64
}

fn scale(decimals: u8) -> f64 {
    SCALES[usize::from(decimals).min(SCALES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factory::plan::Range;

    fn grid(min: f64, max: f64, decimals: u8) -> Grid {
        Grid::new(&Level { range: Range { min, max }, decimals, follows: vec![], when_blocked: None })
    }

    #[test]
    fn rounding_leaves_neither_the_range_nor_the_side_of_a_verdict() {
        for (min, max, decimals) in
            [(8.0, 15.0, 1), (8.0, 15.0, 0), (85.0, 95.0, 2), (1.5, 3.5, 1), (0.05, 1.5, 2), (0.1, 5.0, 9)]
        {
            let grid = grid(min, max, decimals);
            for step in 0..=1000 {
                let level = f64::from(step) / 1000.0;
                for verdict in [None, Some(true), Some(false)] {
                    let value = grid.value_at(level, verdict);
                    let number = value as f64 / grid.scale;
                    assert!((min..=max).contains(&number), "{number} at {level} of {min} to {max}");
                    if let Some(passed) = verdict {
                        let seen = grid.level_of(value);
                        assert_eq!(passed, seen > 0.1 && seen < 0.9, "{number} of {min} to {max}, level {level}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_range_that_its_decimals_cannot_split_still_gives_values_within() {
        for (min, max) in [(2.0, 2.0), (2.0, 3.0)] {
            let grid = grid(min, max, 0);
            for verdict in [None, Some(true), Some(false)] {
                assert!((min..=max).contains(&(grid.value_at(0.4, verdict) as f64)));
            }
        }
    }
}
