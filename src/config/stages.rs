//! `[[stages]]`: what they are called and why their machines block.

use super::reader::{Item, Section, refuse_duplicates};
use super::{rules, signals};
use crate::factory::plan::{BlockReason, Range, Stage};
use crate::units::Span;

/// The most rows of one kind in a stage, and the most stages, so that an index is small.
const ROWS_MAX: usize = 64;

/// Names that would make a stage's event be taken for a lot's, or its time for one of the lot's own.
const RESERVED: [&str; 3] = ["lot", "queue", "total_time"];

/// A stage, and where the file has it.
pub(super) struct Row<'d> {
    pub(super) item: Item<'d>,
    /// Whether it is the file's, not a built-in one.
    pub(super) is_own: bool,
    /// The stage; its duration is read later.
    pub(super) stage: Stage,
}

impl Row<'_> {
    /// Whether its names could be read, so that others may be compared with them.
    pub(super) fn is_named(&self) -> bool {
        !self.stage.name.is_empty() && !self.stage.machine.is_empty()
    }
}

/// The stages in their order.
pub(super) fn read<'d>(root: &mut Section<'d, '_>) -> Vec<Row<'d>> {
    let is_own = root.own_child("stages").is_some();
    let items = rows(root, "stages", 1);
    for key in ["name", "machine"] {
        refuse_duplicates(items.iter().filter_map(|item| item.child(key)), root.problems);
    }
    let row = |item: Item<'d>| {
        let stage = Section::read_with(Some(item.clone()), None, root.problems, stage);
        Row { item, is_own, stage }
    };
    items.into_iter().map(row).collect()
}

/// The rows of a key, of which there must be `min` or more.
pub(super) fn rows<'d>(section: &mut Section<'d, '_>, key: &'static str, min: usize) -> Vec<Item<'d>> {
    let found = section.find(key);
    if found.is_none() && min > 0 {
        section.missing(key, &format!("{min} to {ROWS_MAX} rows"));
    }
    let Some(array) = found.and_then(|item| item.array(section.problems)) else { return Vec::new() };
    let rows = array.children();
    if !(min..=ROWS_MAX).contains(&rows.len()) {
        array.problem(&format!("expected {min} to {ROWS_MAX} rows, found {}", rows.len()), section.problems);
    }
    rows.into_iter().take(ROWS_MAX).filter_map(|row| row.table(section.problems)).collect()
}

fn stage(section: &mut Section<'_, '_>) -> Stage {
    let name = section.read("name", &rules::name());
    if let Some(item) = section.find("name").filter(|_| RESERVED.contains(&name.as_str())) {
        item.unexpected("another name, as events use it", section.problems);
    }
    Stage {
        name: name.into(),
        machine: section.read("machine", &rules::name()).into(),
        label: section.read("label", &rules::name()).into(),
        topic: section.read("topic", &rules::topic()).into(),
        duration: Range { min: Span(0), max: Span(0) },
        block_reasons: block_reasons(section),
        signals: signals::read(section),
    }
}

fn block_reasons(section: &mut Section<'_, '_>) -> Vec<BlockReason> {
    let rows = rows(section, "block_reasons", 0);
    refuse_duplicates(rows.iter().filter_map(|row| row.child("reason")), section.problems);
    let reason = |section: &mut Section<'_, '_>| BlockReason {
        reason: section.read("reason", &rules::name()).into(),
        maintenance: section.optional("maintenance", &rules::boolean()).unwrap_or(false),
    };
    rows.into_iter().map(|row| Section::read_with(Some(row), None, section.problems, reason)).collect()
}
