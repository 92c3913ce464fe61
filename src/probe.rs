//! `mokasim health`: a probe for scripts and containers.

use crate::clock;
use crate::error::{Exit, Failure};
use serde::Deserialize;
use std::time::Duration;
use ureq::http::StatusCode;

/// A factory that does not answer for so long is not there.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries while others of this address ask so often that the factory refuses. Its `Retry-After` has whole seconds
/// only; a client's next token comes far sooner.
const PAUSE: Duration = Duration::from_millis(250);
/// More than a health page has, whoever answers.
const PAGE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Page {
    status: String,
    reason: Option<String>,
}

/// Asks `url` and returns what a healthy factory says.
///
/// # Errors
/// [`Exit::Unhealthy`] with the reason where it is degraded or unhealthy, or refuses all the time because it is asked too often;
/// [`Exit::Unavailable`] where nobody answers.
pub fn probe(url: &str) -> Result<String, Failure> {
    let deadline = clock::now() + TIMEOUT;
    loop {
        let (status, text) = get(url, deadline.saturating_duration_since(clock::now()))
            .map_err(|error| Failure::new(Exit::Unavailable, format!("{url}: not there: {}", reason(&error))))?;
        if status != StatusCode::TOO_MANY_REQUESTS {
            return judge(url, status, &text);
        }
        // The last try has time for an answer, too.
        if deadline <= clock::now() + 2 * PAUSE {
            return Err(Failure::new(Exit::Unhealthy, format!("{url}: {status}: it is asked too often from this address")));
        }
        clock::sleep(PAUSE);
    }
}

fn get(url: &str, timeout: Duration) -> Result<(StatusCode, String), ureq::Error> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).proxy(None).build().into();
    let mut answer = agent.get(url).call()?;
    let text = answer.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_string()?;
    Ok((answer.status(), text))
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        error => error.to_string(),
    }
}

fn judge(url: &str, status: StatusCode, text: &str) -> Result<String, Failure> {
    let page: Page = serde_json::from_str(text)
        .map_err(|_| Failure::new(Exit::Unavailable, format!("{url}: {status}: this is no health page")))?;
    let reason = match page.status.as_str() {
        "healthy" => return Ok(format!("{url}: healthy")),
        "degraded" | "unhealthy" => page.reason.unwrap_or_default(),
        _ => "this is no health page".to_owned(),
    };
    Err(Failure::new(Exit::Unhealthy, format!("{url}: {}: {reason}", page.status)))
}
