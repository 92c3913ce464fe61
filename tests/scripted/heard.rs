//! What a test's own thread says in the log.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl Log for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
    }

    fn flush(&self) {}
}

/// Listens from now on.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| log::set_logger(&Ear).unwrap());
    log::set_max_level(LevelFilter::Info);
    LINES.take();
}

/// Takes the lines that a person sees, `LEVEL text` each.
pub(crate) fn lines() -> Vec<String> {
    LINES.take().into_iter().map(|(level, text)| format!("{level} {text}")).collect()
}
