//! HTTP/1.1 as far as a read-only server needs it (RFC 9110, RFC 9112): a request's head in, a response out.

use time::OffsetDateTime;
use time::macros::format_description;

/// Longest request head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most header fields in one.
const HEADERS_MAX: usize = 64;

/// A request of which the whole head has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// As sent: methods are case-sensitive.
    pub(super) method: String,
    /// The path, without host and query.
    pub(super) path: String,
    /// Whether the connection can serve another request after this one.
    pub(super) keep_alive: bool,
    /// Bytes of the head.
    pub(super) head_len: usize,
}

/// A status code and its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16, pub(super) &'static str);

impl Status {
    pub(super) const OK: Self = Self(200, "OK");
    pub(super) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(super) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(super) const TOO_MANY_REQUESTS: Self = Self(429, "Too Many Requests");
    pub(super) const HEAD_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub(super) const SERVICE_UNAVAILABLE: Self = Self(503, "Service Unavailable");
}

/// Reads a request from the start of `input`; `None` while part of its head is missing.
///
/// # Errors
/// The status to refuse it with, when it is no HTTP/1.x request or its head is too long.
pub(super) fn parse(input: &[u8]) -> Result<Option<Request>, Status> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(input) {
        Ok(httparse::Status::Complete(head_len)) if head_len <= HEAD_BYTES_MAX => request(&head, head_len).map(Some),
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(Status::HEAD_TOO_LARGE),
        Err(_) => Err(Status::BAD_REQUEST),
    }
}

fn request(head: &httparse::Request<'_, '_>, head_len: usize) -> Result<Request, Status> {
    let named = |name: &'static str| head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(Status::BAD_REQUEST);
    };
    // RFC 9112, 3.2: exactly one Host, which HTTP/1.0 may leave out.
    if named("host").count() > 1 || (version == 1 && named("host").count() == 0) {
        return Err(Status::BAD_REQUEST);
    }
    let closes = named("connection")
        .flat_map(|header| header.value.split(|&byte| byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    // No page wants a body, so none is read: what follows the head is then no request, and the connection is of no more use.
    let has_body = named("transfer-encoding").next().is_some() || named("content-length").any(|header| header.value != b"0");
    Ok(Request {
        method: method.to_owned(),
        path: path_of(target).to_owned(),
        keep_alive: version == 1 && !closes && !has_body,
        head_len,
    })
}

/// The path in a request target, be it `/health?pretty` or `http://host/health` (RFC 9112, 3.2).
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |start| &rest[start..]),
        _ => target,
    };
    path.split(['?', '#']).next().unwrap_or(path)
}

/// A response without what depends on the connection it goes out on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: Status,
    pub(super) content_type: &'static str,
    /// One more header field.
    pub(super) header: Option<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// A JSON document. Each body is one line.
    pub(super) fn json(status: Status, body: &impl serde::Serialize) -> Self {
        let mut body = serde_json::to_vec(body).unwrap_or_default();
        body.push(b'\n');
        Self { status, content_type: "application/json", header: None, body }
    }

    /// `{"error": …}`
    pub(super) fn error(status: Status, error: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": error }))
    }

    /// The same with one more header field.
    pub(super) fn with(self, name: &'static str, value: String) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Appends the bytes to `output`; without the body for `HEAD`.
    pub(super) fn encode(&self, date: OffsetDateTime, keep_alive: bool, head_only: bool, output: &mut Vec<u8>) {
        let Status(code, reason) = self.status;
        let date = date
            .format(format_description!(
                "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
            ))
            .unwrap_or_default();
        let mut head = format!(
            "HTTP/1.1 {code} {reason}\r\nDate: {date}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n",
            self.content_type,
            self.body.len(),
        );
        if let Some((name, value)) = &self.header {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(if keep_alive { "\r\n" } else { "Connection: close\r\n\r\n" });
        output.extend_from_slice(head.as_bytes());
        if !head_only {
            output.extend_from_slice(&self.body);
        }
    }
}
