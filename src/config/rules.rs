//! What a single value must be: one rule for each kind of value, with the words that say so.

use super::{Compression, KafkaClient, Speed};
use crate::units::Span;
use log::LevelFilter;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::de::DeValue;
use ureq::http::{HeaderValue, Uri};

type Parse<T> = dyn Fn(&DeValue<'_>) -> Option<T>;

/// A check that turns a TOML value into a `T`.
pub(super) struct Rule<T> {
    /// What is expected, to follow that word.
    pub(super) expected: String,
    /// Takes the value's place after a problem, so that reading goes on; the result is thrown away.
    pub(super) stand_in: T,
    /// The value is never quoted.
    pub(super) secret: bool,
    parse: Box<Parse<T>>,
}

impl<T: 'static> Rule<T> {
    fn new(expected: &str, stand_in: T, parse: impl Fn(&DeValue<'_>) -> Option<T> + 'static) -> Self {
        Self { expected: expected.to_owned(), stand_in, secret: false, parse: Box::new(parse) }
    }
}

impl<T> Rule<T> {
    /// The value, if it keeps the rule.
    pub(super) fn parse(&self, value: &DeValue<'_>) -> Option<T> {
        (self.parse)(value)
    }

    /// The value of a bare text, such as a variable's, if it keeps the rule.
    pub(super) fn parse_text(&self, text: &str) -> Option<T> {
        let as_text = DeValue::String(text.into());
        self.parse(&as_text).or_else(|| self.parse(DeValue::parse(&text.trim().to_lowercase()).ok()?.get_ref()))
    }

    /// The same rule for what `f` makes of the value.
    pub(super) fn map<U>(self, f: impl Fn(T) -> U + 'static) -> Rule<U>
    where
        T: 'static,
    {
        let stand_in = f(self.stand_in);
        let parse = self.parse;
        Rule { expected: self.expected, stand_in, secret: self.secret, parse: Box::new(move |value| parse(value).map(&f)) }
    }
}

/// `true` or `false`.
pub(super) fn boolean() -> Rule<bool> {
    Rule::new("true or false", false, |value| value.as_bool())
}

/// A whole number.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> Rule<T>
where
    T: TryFrom<i128> + PartialOrd + Copy + Display + 'static,
{
    let (min, max) = (*range.start(), *range.end());
    Rule::new(&format!("a whole number from {min} to {max}"), min, move |value| {
        let integer = value.as_integer()?;
        let integer = i128::from_str_radix(integer.as_str(), integer.radix()).ok()?;
        T::try_from(integer).ok().filter(|integer| range.contains(integer))
    })
}

/// A number, with a decimal point or without.
pub(super) fn number(range: RangeInclusive<f64>) -> Rule<f64> {
    let (min, max) = (*range.start(), *range.end());
    Rule::new(&format!("a number from {min} to {max}"), min, move |value| {
        as_number(value).filter(|number| range.contains(number))
    })
}

fn as_number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|integer| integer as f64)
        }
        _ => None,
    }
}

/// A year in seconds: no single time is longer.
pub(super) const YEAR_S: f64 = 31_536_000.0;

/// Seconds of simulated time, kept to the millisecond.
pub(super) fn seconds(range: RangeInclusive<f64>) -> Rule<Span> {
    number(range).map(|seconds| Span((seconds * 1000.0).round() as i64))
}

/// A text that passes a check.
pub(super) fn text(expected: &str, check: fn(&str) -> bool) -> Rule<String> {
    Rule::new(expected, String::new(), move |value| value.as_str().filter(|text| check(text)).map(str::to_owned))
}

/// A password: one line, which problems do not quote.
pub(super) fn password() -> Rule<String> {
    let is_password = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    Rule { secret: true, ..text("one line without control characters", is_password) }
}

/// The path of a file.
pub(super) fn file() -> Rule<PathBuf> {
    text("the path of a file", |path| !path.is_empty()).map(PathBuf::from)
}

/// A text that goes onto the wire.
pub(super) fn name() -> Rule<String> {
    text(NAME, is_name)
}

/// What [`is_name`] asks for.
pub(super) const NAME: &str = "1 to 100 characters, none of them a control character";

/// Whether a text may go onto the wire as a name.
pub(super) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.chars().count()) && !text.contains(char::is_control)
}

/// A Kafka topic, or a part of one.
pub(super) fn topic() -> Rule<String> {
    text("a topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -", is_topic)
}

/// The longest name of a topic that Kafka takes.
pub(super) const TOPIC_BYTES_MAX: usize = 249;

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`).
fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TOPIC_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

/// One of several words.
pub(super) fn word<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> Rule<T> {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    Rule::new(&format!("one of {}", quoted.join(", ")), words[0].1, move |value| {
        let text = value.as_str()?;
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
    })
}

/// An IP address.
pub(super) fn address() -> Rule<IpAddr> {
    let none = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Rule::new("an IP address such as \"127.0.0.1\"", none, |value| value.as_str()?.parse().ok())
}

/// `speed`: a number or a text as [`Speed`] parses it.
pub(super) fn speed() -> Rule<Speed> {
    Rule::new(Speed::EXPECTED, Speed::Max, |value| match value {
        DeValue::String(text) => text.parse().ok(),
        value => as_number(value).and_then(Speed::times),
    })
}

/// `client`
pub(super) fn client() -> Rule<KafkaClient> {
    word(&[("auto", KafkaClient::Auto), ("native", KafkaClient::Native), ("classic", KafkaClient::Classic)])
}

/// `compression_type`
pub(super) fn compression() -> Rule<Compression> {
    word(&[
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ])
}

/// `level`, `terminal_level`
pub(super) fn level() -> Rule<LevelFilter> {
    word(&[
        ("off", LevelFilter::Off),
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ])
}

/// What [`super::server`] asks for.
pub(super) const SERVER: &str = "HOST:PORT with a port from 1 to 65535";

/// `bootstrap_servers`: none, or several by comma.
pub(super) fn servers() -> Rule<Vec<String>> {
    let expected = format!("{SERVER}, several by comma, or \"\" for the spool");
    Rule::new(&expected, Vec::new(), |value| match value.as_str()?.trim() {
        "" => Some(Vec::new()),
        list => list.split(',').map(|server| super::server(server.trim()).ok()).collect(),
    })
}

/// `endpoint_url`: none, or what the address of the external API begins with; `None` or the whole address. What was written is
/// not quoted, as it may hold a password.
pub(super) fn endpoint() -> Rule<Option<Uri>> {
    let expected = "an http:// or https:// address without user, password and query, or \"\"";
    let rule = Rule::new(expected, None, |value| match value.as_str()? {
        "" => Some(None),
        begin => format!("{}/api/telemetry", begin.trim_end_matches('/')).parse().ok().filter(is_endpoint).map(Some),
    });
    Rule { secret: true, ..rule }
}

fn is_endpoint(uri: &Uri) -> bool {
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    is_of_the_web(uri) && !has_user && uri.query().is_none()
}

/// Whether it has a host that speaks HTTP, and no port but a sound one.
pub(super) fn is_of_the_web(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    // What is no port number stands behind the host and is not told as a port.
    let behind_user = authority.as_str().rsplit('@').next();
    let has_sound_port = authority.port().is_some() || behind_user == Some(authority.host());
    matches!(uri.scheme_str(), Some("http" | "https")) && !authority.host().is_empty() && has_sound_port
}

/// `api_key`: the value of a header, `None` for an API that wants none. It marks itself as not to be shown.
pub(super) fn api_key() -> Rule<Option<HeaderValue>> {
    let rule =
        Rule::new("printable characters only, as it is sent in an HTTP header", None, |value| match value.as_str()? {
            "" => Some(None),
            key => HeaderValue::from_str(key).ok().map(|mut key| {
                key.set_sensitive(true);
                Some(key)
            }),
        });
    Rule { secret: true, ..rule }
}

/// `timezone`
pub(super) fn zone() -> Rule<String> {
    text("a name of the time-zone database such as \"Europe/Rome\"", crate::wire::zone_exists)
}

/// Bounds of `tick_ms` and `--tick`: ticks feed the watchdog and `/health`, which miss them after a few seconds.
pub(super) const TICK_MS: RangeInclusive<u64> = 1..=1_000;

/// `tick_ms`
pub(super) fn tick_ms() -> Rule<u64> {
    integer(TICK_MS)
}
