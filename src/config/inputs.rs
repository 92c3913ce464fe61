//! Everything a configuration is read from, so that it can be read again.

use super::{CONFIG_PATH, Config, HealthCheck, Overrides, Problem, Source, VARIABLES, Variable, load, load_health_check};
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
        let source = self.source()?;
        Ok((load(source.as_ref(), &environment, &self.overrides)?, source))
    }

    /// Reads `[health_check]` alone.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines.
    pub fn read_health_check(&self) -> Result<HealthCheck, Vec<Problem>> {
        load_health_check(self.source()?.as_ref(), &environment)
    }

    fn source(&self) -> Result<Option<Source>, Vec<Problem>> {
        Source::find(self.named().as_deref()).map_err(|problem| vec![problem])
    }

    /// Keys that a flag or an environment variable sets, whatever the file says.
    #[must_use]
    pub fn keys_set(&self) -> Vec<&'static str> {
        let flags = &self.overrides;
        let by_flags = [
            (!flags.bootstrap_servers.is_empty() || flags.data.is_some(), "kafka.bootstrap_servers"),
            (flags.data.is_some(), "spool.dir"),
            (flags.speed.is_some(), "simulation.speed"),
            (flags.seed.is_some(), "simulation.seed"),
            (flags.tick.is_some(), "simulation.tick_ms"),
            (flags.log_level.is_some(), "log.level"),
            (flags.log_level.is_some(), "log.terminal_level"),
        ];
        let is_set = |variable: &Variable| environment(variable.name).is_some_and(|text| !text.is_empty());
        let by_variables = VARIABLES.iter().filter(|variable| is_set(variable)).filter_map(|variable| variable.key);
        by_flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, key)| key).chain(by_variables).collect()
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
