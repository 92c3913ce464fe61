//! Reads TOML so that every problem names its line. A file is laid over the built-in one key by key.

use super::problem::{Problem, Problems};
use super::rules::Rule;
use crate::factory::plan::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The longest stretch of a file that a problem quotes, in characters.
const QUOTE_MAX: usize = 60;

/// Keys less alike than this are not offered for one another; 1 is equal.
const LIKENESS_MIN: f64 = 0.6;

/// A parsed file.
pub(super) struct Document<'d> {
    name: &'d str,
    text: &'d str,
    line_starts: Vec<usize>,
    root: Spanned<DeValue<'d>>,
}

impl<'d> Document<'d> {
    /// Parses the file.
    ///
    /// # Errors
    /// Every breach of TOML's syntax, the first of each line.
    pub(super) fn parse(name: &'d str, text: &'d str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let document = Self { name, text, line_starts, root };
        let mut errors: Vec<_> =
            errors.iter().map(|error| (document.line(error.span().map_or(0, |span| span.start)), error.message())).collect();
        errors.sort_by_key(|(line, _)| *line);
        errors.dedup_by_key(|(line, _)| *line);
        if errors.is_empty() {
            return Ok(document);
        }
        Err(errors.into_iter().map(|(line, message)| Problem::new(name, Some(line), message)).collect())
    }

    /// The document as an item.
    pub(super) fn root(&'d self) -> Item<'d> {
        Item { document: self, path: String::new(), key: "", at: 0, value: &self.root }
    }

    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Item<'d> {
    document: &'d Document<'d>,
    path: String,
    /// Its own key, the last of the path; empty for an element of an array.
    pub(super) key: &'d str,
    at: usize,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Item<'d> {
    /// The value of a key, where this is a table that has it.
    pub(super) fn child(&self, key: &str) -> Option<Self> {
        let (key, value) = self.value.get_ref().as_table()?.get_key_value(key)?;
        Some(self.entry(key, value))
    }

    /// What a table or an array holds, in the order of the file.
    pub(super) fn children(&self) -> Vec<Self> {
        let mut children: Vec<_> = match self.value.get_ref() {
            DeValue::Table(table) => table.iter().map(|(key, value)| self.entry(key, value)).collect(),
            DeValue::Array(array) => array.iter().enumerate().map(|(index, value)| self.element(index, value)).collect(),
            _ => Vec::new(),
        };
        children.sort_by_key(|child| child.at);
        children
    }

    fn entry(&self, key: &'d Spanned<toml::de::DeString<'d>>, value: &'d Spanned<DeValue<'d>>) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{key}", self.path);
        Self { document: self.document, path, key: key.get_ref(), at: key.span().start, value }
    }

    fn element(&self, index: usize, value: &'d Spanned<DeValue<'d>>) -> Self {
        let path = format!("{}[{index}]", self.path);
        Self { document: self.document, path, key: "", at: value.span().start, value }
    }

    /// Its text, if it is one.
    pub(super) fn as_str(&self) -> Option<&'d str> {
        self.value.get_ref().as_str()
    }

    /// Itself if it is a table; else that is a problem.
    pub(super) fn table(self, problems: &mut Problems) -> Option<Self> {
        self.of_type(|value| value.is_table(), "a table", problems)
    }

    /// Itself if it is an array; else that is a problem.
    pub(super) fn array(self, problems: &mut Problems) -> Option<Self> {
        self.of_type(|value| value.is_array(), "an array", problems)
    }

    fn of_type(self, is: impl Fn(&DeValue<'_>) -> bool, expected: &str, problems: &mut Problems) -> Option<Self> {
        if is(self.value.get_ref()) {
            return Some(self);
        }
        self.problem(&format!("expected {expected}, found {}", article(self.value.get_ref().type_str())), problems);
        None
    }

    /// The value by a rule; one that breaks it is a problem.
    pub(super) fn read<T>(&self, rule: &Rule<T>, problems: &mut Problems) -> Option<T> {
        let value = rule.parse(self.value.get_ref());
        match value {
            Some(_) => {}
            None if rule.secret => self.problem(&format!("expected {}", rule.expected), problems),
            None => self.unexpected(&rule.expected, problems),
        }
        value
    }

    /// Reports its value as a problem.
    pub(super) fn unexpected(&self, expected: &str, problems: &mut Problems) {
        self.report(&format!("{} = {}: expected {expected}", self.path, self.quote()), problems);
    }

    /// Reports a problem of it that its value does not show.
    pub(super) fn problem(&self, text: &str, problems: &mut Problems) {
        self.report(&format!("{}: {text}", self.path), problems);
    }

    fn report(&self, text: &str, problems: &mut Problems) {
        problems.push(Problem::new(self.document.name, Some(self.document.line(self.at)), text));
    }

    /// The value as the file has it, cut to a part of a line.
    fn quote(&self) -> String {
        let source = self.document.text.get(self.value.span()).unwrap_or_default();
        let line = source.lines().next().unwrap_or_default();
        let quote: String = line.chars().take(QUOTE_MAX).collect();
        if quote.len() < source.len() { quote + "…" } else { quote }
    }
}

/// A table whose keys are read one by one: from the file, else from the built-in one. Keys nobody asked for are problems.
pub(super) struct Section<'d, 'p> {
    own: Option<Item<'d>>,
    built_in: Option<Item<'d>>,
    asked: Vec<&'static str>,
    /// Where problems are put.
    pub(super) problems: &'p mut Problems,
}

impl<'d> Section<'d, '_> {
    /// Reads a section by `f`.
    pub(super) fn read_with<T>(
        own: Option<Item<'d>>,
        built_in: Option<Item<'d>>,
        problems: &mut Problems,
        f: impl FnOnce(&mut Section<'d, '_>) -> T,
    ) -> T {
        let mut section = Section { own, built_in, asked: Vec::new(), problems };
        let value = f(&mut section);
        section.refuse_unknown();
        value
    }

    fn refuse_unknown(&mut self) {
        for child in self.own.iter().flat_map(Item::children) {
            if !self.asked.contains(&child.key) {
                child.problem(&format!("unknown key{}", did_you_mean(child.key, &self.asked)), self.problems);
            }
        }
    }

    /// The value of a key, if there is one.
    pub(super) fn find(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.asked.push(key);
        self.own_child(key).or_else(|| self.built_in.as_ref()?.child(key))
    }

    /// The value of a key, if the file itself has it.
    pub(super) fn own_child(&self, key: &str) -> Option<Item<'d>> {
        self.own.as_ref()?.child(key)
    }

    /// The value of a key that must be there, with a stand-in after a problem.
    pub(super) fn read<T: Clone>(&mut self, key: &'static str, rule: &Rule<T>) -> T {
        self.required(key, rule).unwrap_or_else(|| rule.stand_in.clone())
    }

    /// The value of a key that must be there; `None` after a problem.
    pub(super) fn required<T>(&mut self, key: &'static str, rule: &Rule<T>) -> Option<T> {
        match self.find(key) {
            Some(item) => item.read(rule, self.problems),
            None => {
                self.missing(key, &rule.expected);
                None
            }
        }
    }

    /// The value of a key that may be absent; `None` after a problem, too.
    pub(super) fn optional<T>(&mut self, key: &'static str, rule: &Rule<T>) -> Option<T> {
        self.find(key)?.read(rule, self.problems)
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&mut self, key: &str, expected: &str) {
        self.problem(&format!("{key} is missing: expected {expected}"));
    }

    /// Reports a problem of the table itself.
    pub(super) fn problem(&mut self, text: &str) {
        if let Some(table) = self.own.as_ref().or(self.built_in.as_ref()) {
            table.problem(text, self.problems);
        }
    }

    /// Stops reading: the keys that were not asked for yet are not judged.
    pub(super) fn abandon(&mut self) {
        self.own = None;
    }

    /// The table of a key, read by `f`. Where it is missing, `f` reads stand-ins.
    pub(super) fn table<T>(&mut self, key: &'static str, f: impl FnOnce(&mut Section<'d, '_>) -> T) -> T {
        self.asked.push(key);
        let own = self.own_child(key).and_then(|item| item.table(self.problems));
        let built_in = self.built_in.as_ref().and_then(|item| item.child(key));
        if own.is_none() && built_in.is_none() && self.own_child(key).is_none() {
            self.missing(key, "a table");
        }
        Section::read_with(own, built_in, self.problems, f)
    }

    /// A table of a key with `min` and `max`.
    pub(super) fn range<T: Clone + PartialOrd>(&mut self, key: &'static str, rule: &Rule<T>) -> Range<T> {
        self.table(key, |section| section.min_max(rule))
    }

    /// This table's `min` and `max`.
    pub(super) fn min_max<T: Clone + PartialOrd>(&mut self, rule: &Rule<T>) -> Range<T> {
        let (min, max) = (self.required("min", rule), self.required("max", rule));
        if let (Some(min), Some(max)) = (&min, &max)
            && min > max
        {
            let (own, other, relation) = if self.own_child("max").is_some() {
                ("max", "min", "no less than")
            } else {
                ("min", "max", "no more than")
            };
            if let (Some(item), Some(bound)) = (self.own_child(own), self.find(other)) {
                item.unexpected(&format!("{relation} {other} = {}", bound.quote()), self.problems);
            }
        }
        let stand_in = || rule.stand_in.clone();
        Range { min: min.unwrap_or_else(stand_in), max: max.unwrap_or_else(stand_in) }
    }

    /// The table of tables of a key: the file's if it has one, else the built-in one, never a mixture.
    pub(super) fn group(&mut self, key: &'static str) -> Option<Group<'d>> {
        let is_own = self.own_child(key).is_some();
        let item = self.find(key)?.table(self.problems)?;
        Some(Group { item, is_own })
    }
}

/// A table of tables that is taken from one file as a whole.
pub(super) struct Group<'d> {
    /// The table.
    pub(super) item: Item<'d>,
    /// Whether it is the file's, not the built-in one.
    pub(super) is_own: bool,
}

/// Reports each text that stands in an earlier item too.
pub(super) fn refuse_duplicates<'d>(items: impl IntoIterator<Item = Item<'d>>, problems: &mut Problems) {
    let mut earlier: Vec<Item<'d>> = Vec::new();
    for item in items {
        match earlier.iter().find(|other| other.as_str() == item.as_str()) {
            Some(other) => item.unexpected(&format!("a text of its own, other than {}", other.path), problems),
            None if item.as_str().is_some() => earlier.push(item),
            None => {}
        }
    }
}

/// A suggestion to end a message with, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a &'a str>) -> String {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(word, known);
    let nearest = known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(nearest) if likeness(nearest) >= LIKENESS_MIN => format!(": did you mean {nearest}?"),
        _ => String::new(),
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
