//! Everything a configuration is read from, so that it can be read again.

use super::{CONFIG_PATH, Config, Overrides, Problem, Source, load};
use std::path::PathBuf;

/// Where a configuration comes from. The environment of the process is the third source.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The file that a flag names; else `CONFIG_PATH` may.
    pub file: Option<PathBuf>,
    /// What flags set.
    pub overrides: Overrides,
}

impl Inputs {
    /// The file that is named, by a flag or else by `CONFIG_PATH`.
    #[must_use]
    pub fn named(&self) -> Option<PathBuf> {
        let file = self.file.clone().or_else(|| std::env::var_os(CONFIG_PATH).map(PathBuf::from));
        file.filter(|path| !path.as_os_str().is_empty())
    }

    /// Reads the configuration. The file comes with it, to be compared with a later reading.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines.
    pub fn read(&self) -> Result<(Config, Option<Source>), Vec<Problem>> {
        let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let source = Source::find(self.named().as_deref()).map_err(|problem| vec![problem])?;
        Ok((load(source.as_ref(), &environment, &self.overrides)?, source))
    }
}
