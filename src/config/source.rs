//! Where the text of a configuration comes from.

use super::Problem;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The shipped `config.toml`: every default.
pub const BUILT_IN: &str = include_str!("../../config.toml");

/// The file that is read where none is named, if there is one.
const USUAL: &str = "config.toml";

/// The longest file that is read, in bytes.
const LENGTH_MAX: u64 = 4 << 20;

/// A configuration file. It may hold the API key, so it has no `Debug`.
#[derive(Clone)]
pub struct Source {
    /// What problems call it.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl Source {
    /// Reads the file that is named, else `./config.toml`, else nothing.
    ///
    /// # Errors
    /// The file is named and missing, or it cannot be read.
    pub fn find(named: Option<&Path>) -> Result<Option<Self>, Problem> {
        let path = named.unwrap_or(Path::new(USUAL));
        let name = path.display().to_string();
        match read(path) {
            Ok(text) => Ok(Some(Self { name, text })),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
            Err(error) => Err(Problem::new(&name, None, &format!("cannot be read: {error}"))),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(path)?.take(LENGTH_MAX + 1).read_to_string(&mut text)? as u64;
    if length > LENGTH_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {LENGTH_MAX} bytes")));
    }
    Ok(text)
}
