//! What a request says about how it is to be handled: its deadline and the headers that pass.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use tokio::time::Instant;

use crate::config::ApiConfig;
use crate::error::{Error, Result};
use crate::record::Record;
use crate::upstream::{Call, Deadline, Memory};

/// A deadline as people write it: milliseconds, or numbers with units such as `1s 500ms`. The time
/// that a request takes counts from its head on.
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// The same as gRPC has it.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What a request takes by itself, while it waits for its body.
const REQUEST: usize = 8 << 10;

/// The call of a request with these headers. A client can make its time shorter than the
/// configuration has it, not longer.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if a timeout cannot be read, 503 if there is no memory left.
pub(super) fn call(
    headers: &HeaderMap,
    record: &Arc<Record>,
    config: &ApiConfig,
    memory: &Memory,
) -> Result<Call> {
    let start = Instant::now();
    let mut deadline = Deadline::after(config.timeout);
    for (name, parse) in [(REQUEST_TIMEOUT, request_timeout as fn(&str) -> _), (GRPC_TIMEOUT, grpc_timeout)] {
        if let Some(value) = headers.get(&name) {
            let timeout = value.to_str().ok().and_then(|text| parse(text.trim())).ok_or_else(|| {
                Error::invalid_argument(format!("The header {name} is not a time: {value:?}"))
            })?;
            deadline = deadline.at_most(start, timeout);
        }
    }
    let mut metadata = HeaderMap::new();
    for name in &config.pass_headers {
        for value in headers.get_all(name) {
            metadata.append(name, value.clone());
        }
    }
    let account = memory.account();
    account.hold(REQUEST)?;
    Ok(Call::new(deadline, metadata, account, Arc::clone(record), config.max_response_size))
}

/// `500` for milliseconds, or what humantime reads, such as `2s 500ms`.
fn request_timeout(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// Up to eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(3600 * count),
        "M" => Duration::from_secs(60 * count),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_written_in_two_ways() {
        let check = |parsed: Option<Duration>, milliseconds: u64| {
            assert_eq!(parsed, Some(Duration::from_millis(milliseconds)));
        };
        check(request_timeout("500"), 500);
        check(request_timeout("2s 500ms"), 2500);
        check(grpc_timeout("99999000u"), 99_999);
        check(grpc_timeout("1H"), 3_600_000);
        check(grpc_timeout("20m"), 20);
        for bad in ["", "x", "-1", "1.5", "5 parsecs"] {
            assert_eq!(request_timeout(bad), None, "{bad}");
        }
        for bad in ["", "S", "123456789S", "+1S", "1s", "1ü"] {
            assert_eq!(grpc_timeout(bad), None, "{bad}");
        }
    }
}
