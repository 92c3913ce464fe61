//! Settings by environment variables.

use super::problem::{Problem, Problems};
use super::rules::Rule;

/// A lookup of variables; an empty one counts as not set.
pub(super) struct Environment<'e>(pub(super) &'e dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// Whether there is such a variable.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.is_empty())
    }

    /// The variable by a rule; `None` where it is not set, or after a problem.
    pub(super) fn read<T: 'static>(&self, name: &str, rule: &Rule<T>, problems: &mut Problems) -> Option<T> {
        let text = self.get(name)?;
        let value = rule.parse_text(&text);
        match value {
            Some(_) => {}
            None if rule.secret => problems.push(problem(&format!("{name}: expected {}", rule.expected))),
            None => self.unexpected(name, &rule.expected, problems),
        }
        value
    }

    /// Reports the value of a variable.
    pub(super) fn unexpected(&self, name: &str, expected: &str, problems: &mut Problems) {
        let text = (self.0)(name).unwrap_or_default();
        problems.push(problem(&format!("{name} = {text}: expected {expected}")));
    }
}

fn problem(text: &str) -> Problem {
    Problem::new("environment", None, text)
}
