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
}

impl Lock {
    /// Takes a folder that there is.
    pub(crate) fn take(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(SpoolError::at(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), path, file }),
            Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(SpoolError::at(&path)(error)),
        }
    }

    /// Takes it again where the folder was removed meanwhile, and what was locked with it; another instance may have been first.
    pub(crate) fn hold(&mut self) -> Result<(), SpoolError> {
        let held = self.file.metadata().map_err(SpoolError::at(&self.path))?;
        if !fs::metadata(&self.path).is_ok_and(|found| is_same(&found, &held)) {
            *self = Self::take(&self.dir)?;
        }
        Ok(())
    }
}
