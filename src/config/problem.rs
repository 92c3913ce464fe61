//! What is wrong with a configuration, one line each.

use std::fmt;

/// One thing that is wrong: where, what was found, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: String,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// A problem of `place` (a file or a variable), in its `line` if it has lines.
    pub(super) fn new(place: &str, line: Option<usize>, text: &str) -> Self {
        Self { place: printable(place), line, text: printable(text) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, line, text } = self;
        match line {
            Some(line) => write!(f, "{place}:{line}: {text}"),
            None => write!(f, "{place}: {text}"),
        }
    }
}

impl std::error::Error for Problem {}

/// One line that a terminal shows as it is, whatever a file holds.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// The problems in the order of their lines, those without a line last, each once; `value` where there is none.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Vec<Problem>> {
        self.0.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        self.0.dedup();
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}
