//! A record as a line of a spool file, where a file stands for a topic.

use super::Record;
use super::json::{Object, number, string};
use serde::de::IgnoredAny;

/// Appends the record's line: `{"key":…,"timestamp":…,"headers":{…},"value":…}` and a line feed. The value is the record's JSON
/// itself, on one line; a value that is no JSON becomes a JSON string of its text.
pub fn spool_line(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut line = Object::open(out);
    string(line.member("key"), &String::from_utf8_lossy(record.key));
    number(line.member("timestamp"), record.timestamp.0, 0);
    let mut headers = Object::open(line.member("headers"));
    for (name, value) in record.headers {
        string(headers.member(name), &String::from_utf8_lossy(value));
    }
    headers.close();
    value(line.member("value"), record.value);
    line.close();
    out.push(b'\n');
}

fn value(out: &mut Vec<u8>, value: &[u8]) {
    if serde_json::from_slice::<IgnoredAny>(value).is_err() {
        return string(out, &String::from_utf8_lossy(value));
    }
    // JSON has raw line breaks between its tokens only, where any space will do.
    let start = out.len();
    out.extend_from_slice(value);
    for byte in &mut out[start..] {
        *byte = if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    }
}
