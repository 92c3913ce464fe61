//! `mokasim health`: a probe for scripts and containers.

use crate::error::{Exit, Failure};
use serde::Deserialize;
use std::time::Duration;

/// A factory that does not answer for so long is not there.
const TIMEOUT: Duration = Duration::from_secs(3);
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
/// [`Exit::Unhealthy`] with the reason where it is degraded or unhealthy, [`Exit::Unavailable`] where nobody answers.
pub fn probe(url: &str) -> Result<String, Failure> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None).build().into();
    let not_there = |error: &ureq::Error| Failure::new(Exit::Unavailable, format!("{url}: not there: {error}"));
    let mut answer = agent.get(url).call().map_err(|error| not_there(&error))?;
    let text = answer.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_string().map_err(|error| not_there(&error))?;
    let page: Page = serde_json::from_str(&text)
        .map_err(|_| Failure::new(Exit::Unavailable, format!("{url}: {}: this is no health page", answer.status())))?;
    let reason = match page.status.as_str() {
        "healthy" => return Ok(format!("{url}: healthy")),
        "degraded" | "unhealthy" => page.reason.unwrap_or_default(),
        _ => "this is no health page".to_owned(),
    };
    Err(Failure::new(Exit::Unhealthy, format!("{url}: {}: {reason}", page.status)))
}
