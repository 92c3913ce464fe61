//! The member id that a static member had last, kept in the data folder for its next run.
//!
//! Whoever holds the folder's lock knows that the run that wrote the file is dead, and may declare that member gone: its successor
//! need not wait until the broker gives it up. An instance with the same `group_instance_id` and another folder knows no such id,
//! and waits.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

const FILE: &str = ".member";
/// Written first, then renamed: a crash leaves the old file or the new one.
const FILE_NEW: &str = ".member.new";
/// Three names of 100 characters and more, with their escapes; what is longer is not ours.
const BYTES_MAX: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct MemberFile {
    dir: PathBuf,
    /// What the file says, or was to say: after a failure it is not tried again for the same id.
    last: Member,
    errors: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    group_id: String,
    group_instance_id: String,
    /// Empty while there was none.
    member_id: String,
}

impl MemberFile {
    /// Reads the file in `dir`, whose lock the caller holds. One that is not there, cannot be read, or is of another group or
    /// instance tells of no member.
    #[must_use]
    pub(super) fn open(dir: &Path, group_id: &str, group_instance_id: &str) -> Self {
        let path = dir.join(FILE);
        let found = match read(&path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("{}: {error}; the broker may take the run before this one for alive", path.display());
                None
            }
        };
        let nobody = || Member {
            group_id: group_id.to_owned(),
            group_instance_id: group_instance_id.to_owned(),
            member_id: String::new(),
        };
        let is_ours = |found: &Member| found.group_id == group_id && found.group_instance_id == group_instance_id;
        Self { dir: dir.to_owned(), last: found.filter(is_ours).unwrap_or_else(nobody), errors: 0 }
    }

    /// The member id that was kept last.
    #[must_use]
    pub(super) fn member_id(&self) -> Option<&str> {
        Some(self.last.member_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Keeps a member id, unless it is the last one. It is not synced: after a loss of power the session is over anyway. A failure
    /// is logged once, and counted.
    pub(super) fn keep(&mut self, member_id: &str) {
        if self.last.member_id == member_id {
            return;
        }
        member_id.clone_into(&mut self.last.member_id);
        if let Err(error) = self.write() {
            if self.errors == 0 {
                let path = self.dir.join(FILE);
                log::warn!("{}: {error}; after a crash the next run waits until the session ends", path.display());
            }
            self.errors += 1;
        }
    }

    fn write(&self) -> io::Result<()> {
        let new = self.dir.join(FILE_NEW);
        fs::write(&new, serde_json::to_vec(&self.last)?)?;
        fs::rename(&new, self.dir.join(FILE))
    }

    /// Failed writes since the start.
    #[must_use]
    pub(super) const fn errors(&self) -> u64 {
        self.errors
    }
}

fn read(path: &Path) -> io::Result<Member> {
    let mut text = String::new();
    File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> MemberFile {
        MemberFile::open(dir, "mokasim", "edge-1")
    }

    #[test]
    fn the_next_run_of_the_same_group_and_instance_finds_the_id_that_was_kept_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(dir.path());
        assert_eq!(file.member_id(), None);
        for id in ["a", "b", "b"] {
            file.keep(id);
        }
        assert_eq!((open(dir.path()).member_id(), file.errors()), (Some("b"), 0));
        assert_eq!(MemberFile::open(dir.path(), "mokasim", "edge-2").member_id(), None);
        assert_eq!(MemberFile::open(dir.path(), "another", "edge-1").member_id(), None);
        assert!(!dir.path().join(FILE_NEW).exists());
    }

    #[test]
    fn a_file_that_is_not_ours_tells_of_no_member_and_is_replaced() {
        let whole = r#"{"group_id":"mokasim","group_instance_id":"edge-1","member_id":"a"}"#;
        let padded = format!("{}{whole}", " ".repeat(BYTES_MAX as usize));
        let cut = (0..whole.len()).map(|end| &whole.as_bytes()[..end]);
        for bytes in cut.chain([padded.as_bytes(), b"\xff\xfe", b"null", b"{\"member_id\":7}"]) {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), bytes).unwrap();
            let mut file = open(dir.path());
            assert_eq!(file.member_id(), None, "{:.99}", String::from_utf8_lossy(bytes));
            file.keep("b");
            assert_eq!(open(dir.path()).member_id(), Some("b"));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_counted_once_an_id() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let mut file = open(&gone);
        for id in ["a", "a", "b"] {
            file.keep(id);
        }
        assert_eq!((file.errors(), file.member_id()), (2, Some("b")));
    }
}
