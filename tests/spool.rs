//! The spool as its user sees it: files in a folder, orders in and records out. `SEED=n` replays one run of a randomised test.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what went wrong by failing")]

#[path = "spool/files.rs"]
mod files;
#[path = "spool/folder.rs"]
mod folder;
#[path = "spool/orders.rs"]
mod orders;
#[path = "common/seeds.rs"]
mod seeds;

use folder::{Folder, MEMORY_BYTES};
use mokasim::bus::spool::{Spool, SpoolError};
use mokasim::config;

#[test]
fn one_instance_holds_the_folder_and_a_folder_that_cannot_be_is_named() {
    let mut folder = Folder::roomy();
    let second = Spool::open(&folder.config, &folder.topics, MEMORY_BYTES);
    assert!(matches!(&second, Err(SpoolError::InUse { dir }) if *dir == folder.config.dir), "{second:?}");
    assert!(second.unwrap_err().to_string().contains("another instance"));
    folder.restart();

    folder.append("afile", "");
    let config = config::Spool { dir: folder.path("afile").join("data"), ..folder.config.clone() };
    let error = Spool::open(&config, &folder.topics, MEMORY_BYTES).unwrap_err();
    assert!(error.to_string().starts_with(config.dir.to_str().unwrap()), "{error}");
}
