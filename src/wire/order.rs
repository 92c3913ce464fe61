//! Bytes to orders. What breaks a rule becomes a [`Rejection`] that says what was found and what was expected.

use super::time::parse_rfc3339;
use crate::factory;
use crate::factory::plan::Plan;
use crate::units::{Priority, SimTime, SiteId};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Largest order record, in bytes.
pub const ORDER_BYTES_MAX: usize = 64 * 1024;

const CODE_CHARS_MAX: usize = 64;
const CLIENT_CHARS_MAX: usize = 128;
const QUANTITY_MAX: u32 = 1_000_000;

/// How much of an offending text a reason quotes, and how long a reason may be, in characters.
const QUOTE_CHARS_MAX: usize = 80;
const REASON_CHARS_MAX: usize = 400;

/// An order that keeps every rule which can be checked without the factory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedOrder<'a> {
    /// `codice_lotto`
    pub code: Cow<'a, str>,
    /// `cliente`
    pub client: Cow<'a, str>,
    /// `quantita`
    pub quantity: u32,
    /// `location`
    pub site: SiteId,
    /// `priorita`
    pub priority: Priority,
    /// `timestamp`, which says when the customer ordered, not when the order arrived.
    pub timestamp: Option<SimTime>,
}

impl CheckedOrder<'_> {
    /// What the factory is offered.
    #[must_use]
    pub fn as_factory(&self) -> factory::Order<'_> {
        factory::Order {
            code: &self.code,
            client: &self.client,
            quantity: self.quantity,
            site: self.site,
            priority: self.priority,
        }
    }
}

/// Why a record of the orders topic is no order. Displayed, it begins with the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What was expected and what was found; short, on one line.
    pub reason: String,
    /// The field that breaks a rule; `None` when it is the record.
    pub field: Option<&'static str>,
}

impl Rejection {
    /// The lot code is in progress or among those remembered.
    #[must_use]
    pub fn duplicate(code: &str) -> Self {
        Self::new(Some("codice_lotto"), "a new lot code", code)
    }

    fn new(field: Option<&'static str>, expected: impl fmt::Display, found: &str) -> Self {
        let found = shortened(found, QUOTE_CHARS_MAX);
        Self { reason: shortened(&format!("expected {expected}, found {found}"), REASON_CHARS_MAX), field }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{field}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// An order as it stands in the record; fields keep their text until their own rule is looked at.
#[derive(Deserialize)]
struct RawOrder<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    codice_lotto: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    cliente: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    quantita: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    location: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    priorita: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    timestamp: Option<&'a RawValue>,
}

/// A field that is there, `null` included: serde takes that for an absent one.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(field).map(Some)
}

/// Checks a record of the orders topic. Its texts are borrowed where they stand in the record unescaped.
///
/// # Errors
/// The first rule that is broken: of the record, then of its fields in the order of the documentation.
pub fn parse_order<'a>(payload: &'a [u8], plan: &Plan) -> Result<CheckedOrder<'a>, Rejection> {
    let raw = read_object(payload)?;
    Ok(CheckedOrder {
        code: code(raw.codice_lotto)?,
        client: text(raw.cliente, "cliente", CLIENT_CHARS_MAX)?,
        quantity: quantity(raw.quantita)?,
        site: site(raw.location, plan)?,
        priority: raw.priorita.map_or(Ok(Priority::default()), priority)?,
        timestamp: raw.timestamp.map(timestamp).transpose()?,
    })
}

fn read_object(payload: &[u8]) -> Result<RawOrder<'_>, Rejection> {
    if payload.len() > ORDER_BYTES_MAX {
        let found = format!("{}", payload.len());
        return Err(Rejection::new(None, format_args!("at most {ORDER_BYTES_MAX} bytes"), &found));
    }
    let text = std::str::from_utf8(payload)
        .map_err(|error| Rejection::new(None, "UTF-8", &format!("a bad byte at {}", error.valid_up_to())))?;
    // A list of six values would pass for the structure as well.
    if !is_object(payload) {
        return Err(Rejection::new(None, "a JSON object", if text.is_empty() { "nothing" } else { text }));
    }
    serde_json::from_str(text).map_err(|error| Rejection::new(None, "a JSON object", &error.to_string()))
}

fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

fn code(raw: Option<&RawValue>) -> Result<Cow<'_, str>, Rejection> {
    const FIELD: &str = "codice_lotto";
    let code = text(raw, FIELD, CODE_CHARS_MAX)?;
    match code.chars().find(|c| c.is_control()) {
        Some(c) => Err(Rejection::new(Some(FIELD), "no control character", &format!("{}", c.escape_default()))),
        None => Ok(code),
    }
}

/// A required string of 1 to `chars_max` characters.
fn text<'a>(raw: Option<&'a RawValue>, field: &'static str, chars_max: usize) -> Result<Cow<'a, str>, Rejection> {
    let expected = format_args!("a string of 1 to {chars_max} characters");
    let text = required_string(raw, field, expected)?;
    match text.chars().count() {
        0 => Err(Rejection::new(Some(field), expected, "an empty one")),
        chars if chars > chars_max => Err(Rejection::new(Some(field), expected, &format!("{chars} characters: {text}"))),
        _ => Ok(text),
    }
}

fn quantity(raw: Option<&RawValue>) -> Result<u32, Rejection> {
    const FIELD: &str = "quantita";
    let expected = format_args!("an integer from 1 to {QUANTITY_MAX}");
    let json = required(raw, FIELD, expected)?.get();
    match json.parse() {
        Ok(quantity @ 1..=QUANTITY_MAX) => Ok(quantity),
        _ => Err(Rejection::new(Some(FIELD), expected, json)),
    }
}

fn site(raw: Option<&RawValue>, plan: &Plan) -> Result<SiteId, Rejection> {
    const FIELD: &str = "location";
    let name = required_string(raw, FIELD, "a string")?;
    let names = plan.sites.iter().map(|site| &*site.name);
    plan.site_by_name(&name).ok_or_else(|| Rejection::new(Some(FIELD), one_of(names), &name))
}

fn priority(raw: &RawValue) -> Result<Priority, Rejection> {
    const FIELD: &str = "priorita";
    let word = string(raw, FIELD, "a string")?;
    let priority = Priority::ALL.into_iter().find(|priority| priority.as_str() == word);
    priority.ok_or_else(|| Rejection::new(Some(FIELD), one_of(Priority::ALL.into_iter().map(Priority::as_str)), &word))
}

fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    format!("one of {}", words.collect::<Vec<_>>().join(", "))
}

fn timestamp(raw: &RawValue) -> Result<SimTime, Rejection> {
    const FIELD: &str = "timestamp";
    let expected = "an RFC 3339 date-time such as 2025-06-25T10:00:00Z";
    let text = string(raw, FIELD, expected)?;
    parse_rfc3339(&text).ok_or_else(|| Rejection::new(Some(FIELD), expected, &text))
}

fn required<'a>(
    raw: Option<&'a RawValue>,
    field: &'static str,
    expected: impl fmt::Display,
) -> Result<&'a RawValue, Rejection> {
    raw.ok_or_else(|| Rejection::new(Some(field), expected, "none"))
}

fn required_string<'a>(
    raw: Option<&'a RawValue>,
    field: &'static str,
    expected: impl fmt::Display + Copy,
) -> Result<Cow<'a, str>, Rejection> {
    string(required(raw, field, expected)?, field, expected)
}

fn string<'a>(raw: &'a RawValue, field: &'static str, expected: impl fmt::Display) -> Result<Cow<'a, str>, Rejection> {
    unquoted(raw).ok_or_else(|| Rejection::new(Some(field), expected, raw.get()))
}

/// The text of a JSON string; `None` when the value is no string, or a string with half a surrogate pair.
fn unquoted(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw.get()).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// On one line and cut to `chars_max` characters.
fn shortened(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// A line of an orders file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine<'a> {
    /// What [`parse_order`] is to read.
    pub payload: Cow<'a, [u8]>,
    /// When the record was written, if the line is a spool record that says so.
    pub timestamp: Option<SimTime>,
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow)]
    codice_lotto: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

/// Takes a line of an orders file apart. An object with a `value` and no `codice_lotto` is a spool record, and its value,
/// byte for byte, is the payload (of a value that is a string: its text). Every other line is itself the payload: a bare
/// order, or something that [`parse_order`] will reject.
#[must_use]
pub fn order_line(line: &[u8]) -> OrderLine<'_> {
    let record = Some(line).filter(|line| is_object(line)).and_then(|line| serde_json::from_slice(line).ok());
    match record {
        Some(RawLine { codice_lotto: None, value: Some(value), timestamp }) => OrderLine {
            payload: match unquoted(value) {
                Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                None => Cow::Borrowed(value.get().as_bytes()),
            },
            timestamp: timestamp.and_then(|ms| ms.get().parse().ok()).map(SimTime),
        },
        _ => OrderLine { payload: Cow::Borrowed(line), timestamp: None },
    }
}
