//! The lock file of a data folder.

use super::SpoolError;
use super::files::is_same;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Held locked by the instance that uses the folder.
const LOCK_FILE: &str = ".lock";

/// A folder that this process has for itself, as long as this lives.
#[derive(Debug)]
pub struct Lock {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    /// Whether it was said that the folder could not be held.
    is_lost: bool,
}

impl Lock {
    /// Takes a folder, or makes it.
    pub(crate) fn take(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(LOCK_FILE);
        Ok(Self { dir: dir.to_owned(), file: lock(dir, &path)?, path, is_lost: false })
    }

    /// Takes it again where the folder was removed meanwhile, and what was locked with it; another instance may have been first.
    pub(crate) fn hold(&mut self) -> Result<(), SpoolError> {
        let held = self.file.metadata().map_err(SpoolError::at(&self.path))?;
        if !fs::metadata(&self.path).is_ok_and(|found| is_same(&found, &held)) {
            self.file = lock(&self.dir, &self.path)?;
        }
        Ok(())
    }

    /// As [`Self::hold`], for who writes nothing there: the log says once that it fails, and once that it does no more.
    pub(crate) fn keep(&mut self) {
        let held = self.hold();
        if held.is_err() != self.is_lost {
            self.is_lost = held.is_err();
            match held {
                Ok(()) => log::info!("{}: held again", self.dir.display()),
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

fn lock(dir: &Path, path: &Path) -> Result<File, SpoolError> {
    fs::create_dir_all(dir).map_err(SpoolError::at(dir))?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(SpoolError::at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::at(path)(error)),
    }
}
