//! Looks at an answer before the codec does, and refuses one that would make it take memory for what is not there.
//!
//! The codec reserves room for as many elements as an array announces: twenty hostile bytes can ask for terabytes, and the
//! allocator ends the process. So each answer is walked through once, by a table of its fields; nothing is allocated on the way.

mod answers;

use answers::ANSWERS;
pub(super) use answers::{ASSIGNMENT_OF_LEADER, SUBSCRIPTION};
use kafka_protocol::messages::ApiKey;

/// Room that the arrays of one answer may take, by [`STRUCT_BYTES`] and [`ELEMENT_BYTES`]; the frame limit by default.
const MEMORY_MAX: usize = 16 << 20;
/// No struct of an answer takes more in memory; a test holds it against the codec.
const STRUCT_BYTES: usize = 512;
/// No number or text of an array takes more.
const ELEMENT_BYTES: usize = 32;

/// Fields in the order of the wire.
pub(super) struct Struct {
    fields: &'static [Field],
    /// Tagged fields that the codec reads: tag, name, content.
    tagged: &'static [(u32, &'static str, Kind)],
}

struct Field {
    /// First and last version that has it.
    versions: (i16, i16),
    name: &'static str,
    kind: Kind,
}

/// How a field stands on the wire.
enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// Text after its length, which may say "null".
    Text,
    /// Bytes after their length, which may say "null".
    Blob,
    /// A struct.
    One(&'static Struct),
    /// A struct after a byte that is 1 when there is one.
    Nullable(&'static Struct),
    /// Structs after their number, which may say "null".
    Many(&'static Struct),
    /// Numbers or texts after their number, which may say "null".
    List(&'static Kind),
}

/// Checks that an answer holds what its lengths announce.
///
/// # Errors
/// What is wrong, and in which field.
pub(super) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), String> {
    let (_, flexible, fields) =
        ANSWERS.iter().find(|(known, ..)| *known == api).ok_or_else(|| format!("no table of its fields: {api:?}"))?;
    let mut walk = Walk { rest: body, version, flexible: version >= *flexible, memory: 0 };
    walk.one(fields)
}

/// As [`check`], for what members of a group tell each other.
///
/// # Errors
/// What is wrong, and in which field.
pub(super) fn check_message(fields: &Struct, version: i16, body: &[u8]) -> Result<(), String> {
    Walk { rest: body, version, flexible: false, memory: 0 }.one(fields)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    memory: usize,
}

impl Walk<'_> {
    fn one(&mut self, what: &Struct) -> Result<(), String> {
        let version = self.version;
        for field in what.fields.iter().filter(|field| (field.versions.0..=field.versions.1).contains(&version)) {
            self.value(&field.kind, field.name)?;
        }
        if self.flexible {
            for _ in 0..self.varint("tagged fields")? {
                let (tag, size) = (self.varint("tag")?, self.varint("tag")?);
                match what.tagged.iter().find(|(known, ..)| *known == tag) {
                    // As the codec does, by its content and not by its size.
                    Some((_, name, kind)) => self.value(kind, name)?,
                    None => self.skip(size as usize, "tagged field")?,
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: &Kind, name: &'static str) -> Result<(), String> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes, name),
            Kind::Text => {
                let length =
                    if self.flexible { self.compact(name)? } else { i64::from(i16::from_be_bytes(self.take(name)?)) };
                self.skip(usize::try_from(length).unwrap_or(0), name)
            }
            Kind::Blob => {
                let length = self.length(name)?;
                self.skip(length, name)
            }
            Kind::One(inner) => self.one(inner),
            Kind::Nullable(inner) => {
                let [mark] = self.take(name)?;
                if mark == 1 { self.one(inner) } else { Ok(()) }
            }
            Kind::Many(inner) => {
                for _ in 0..self.count(STRUCT_BYTES, name)? {
                    self.one(inner)?;
                }
                Ok(())
            }
            Kind::List(inner) => {
                for _ in 0..self.count(ELEMENT_BYTES, name)? {
                    self.value(inner, name)?;
                }
                Ok(())
            }
        }
    }

    /// The number of elements that follow; each takes a byte of the wire at least.
    fn count(&mut self, element_bytes: usize, name: &'static str) -> Result<usize, String> {
        let count = self.length(name)?;
        if count > self.rest.len() {
            return Err(format!("{name}: {count} elements in {} bytes", self.rest.len()));
        }
        self.memory = self.memory.saturating_add(count.saturating_mul(element_bytes));
        if self.memory > MEMORY_MAX {
            return Err(format!("{name}: {count} elements, which with what precedes take more than {MEMORY_MAX} bytes"));
        }
        Ok(count)
    }

    /// A length of 32 bits, or a compact one; 0 for null.
    fn length(&mut self, name: &'static str) -> Result<usize, String> {
        let length = if self.flexible { self.compact(name)? } else { i64::from(i32::from_be_bytes(self.take(name)?)) };
        Ok(usize::try_from(length).unwrap_or(0))
    }

    /// A length that is one less than its varint.
    fn compact(&mut self, name: &'static str) -> Result<i64, String> {
        Ok(i64::from(self.varint(name)?) - 1)
    }

    fn varint(&mut self, name: &'static str) -> Result<u32, String> {
        let mut value = 0_u32;
        for index in 0..5 {
            let [byte] = self.take(name)?;
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn skip(&mut self, bytes: usize, name: &'static str) -> Result<(), String> {
        let rest =
            self.rest.get(bytes..).ok_or_else(|| format!("{name}: {bytes} bytes where {} are left", self.rest.len()))?;
        self.rest = rest;
        Ok(())
    }

    fn take<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| format!("{name}: cut off"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests;
