//! What a server answers: lines or a refusal, and what a line says that is no prediction.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::cli::client::accepted;
use crate::codec::media::{Agreement, MediaType};
use crate::error::{Error, Result};

/// The most bytes of an answer that is an error.
const LONGEST_ERROR: usize = 1 << 20;

/// What a line of an answer is.
#[derive(Debug)]
pub(super) enum Answer {
    Prediction,
    /// Why there is none for this line.
    Failure(String),
    /// Why there is none for this line and those behind it, by no fault of theirs.
    Broken(Error),
}

/// A line that is an error and nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    error: String,
    /// What the whole request would have been answered with; it is there if it is not the line's own fault.
    #[serde(default)]
    status: Option<u16>,
}

impl Answer {
    /// What a line is that is the answer to the line of this number in the request.
    pub(super) fn of(line: &[u8], number: u64) -> Self {
        let Some((told, status)) = told(line) else { return Self::Prediction };
        let of_line = told.error.strip_prefix(&format!("line {number}: "));
        let reason = of_line.unwrap_or(&told.error);
        let error = match status {
            Some(status) => Error::unavailable(format!("{}: {reason}", status.as_u16())).with_status(status),
            None => Error::unavailable(reason),
        };
        match of_line {
            // Another attempt may have a prediction, and a failure would be there for good.
            Some(_) if status.is_some() && may_pass(&error) => Self::Broken(error),
            Some(reason) => Self::Failure(reason.to_owned()),
            None => Self::Broken(error),
        }
    }
}

/// Whether a line is an error.
pub(super) fn is_error(line: &[u8]) -> bool {
    told(line).is_some()
}

/// The error that a line is, with its status if it has one. What has a number that is no status of an error is the
/// prediction of a model with such outputs.
fn told(line: &[u8]) -> Option<(Told, Option<StatusCode>)> {
    if !line.starts_with(b"{\"error\":\"") {
        return None;
    }
    let told: Told = serde_json::from_slice(line).ok()?;
    let Some(number) = told.status else { return Some((told, None)) };
    let status = StatusCode::from_u16(number).ok();
    let status = status.filter(|status| status.is_client_error() || status.is_server_error())?;
    Some((told, Some(status)))
}

/// The body of an answer, whose lines are predictions only if its type says so: a page of a proxy has lines, too.
///
/// # Errors
///
/// `INTERNAL` with the type that came.
pub(super) fn lines(name: &str, response: Response<Incoming>) -> Result<Incoming> {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    if content_type.as_deref().is_some_and(is_lines) {
        return Ok(response.into_body());
    }
    let came = content_type.map_or("a body of no type".to_owned(), |name| format!("{name:?}"));
    let lines = MediaType::Lines.name();
    let status = response.status().as_u16();
    Err(Error::internal(format!(
        "{name} has answered {status} with {came} where {lines} is expected: is it a bridge?"
    )))
}

/// Whether a `Content-Type` is one of those that requests with lines have.
fn is_lines(content_type: &str) -> bool {
    Agreement::new(Some(content_type), None, None).is_ok_and(|it| it.request == MediaType::Lines)
}

/// What the server says of a request that it refuses; the status alone if it has not said more by then.
pub(super) async fn refusal(response: Response<Incoming>, limit: Instant) -> Error {
    let (head, body) = response.into_parts();
    let body = match timeout_at(limit, Limited::new(body, LONGEST_ERROR).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    match accepted(Response::from_parts(head, body)) {
        Err(error) => error,
        Ok(_) => Error::internal("The server has answered with something else than lines"),
    }
}

/// Whether it may go better another time.
pub(super) fn may_pass(error: &Error) -> bool {
    let status = error.status();
    matches!(status.as_u16(), 408 | 429) || (status.is_server_error() && status.as_u16() != 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_predictions() {
        let check = |line: &str, expected: &str| {
            let found = match Answer::of(line.as_bytes(), 2) {
                Answer::Prediction => "prediction".to_owned(),
                Answer::Failure(reason) => format!("failure: {reason}"),
                Answer::Broken(error) => format!("broken, {}: {}", error.status().as_u16(), error.message()),
            };
            assert_eq!(found, expected, "{line}");
        };
        check("1.5", "prediction");
        check(r#"{"error":"e","y":1}"#, "prediction");
        check(r#"{"error":[1]}"#, "prediction");
        check(r#"{"error":"line 2: e","status":1}"#, "prediction");
        check(r#"{"error":"line 2: bad"}"#, "failure: bad");
        check(r#"{"error":"line 2: bad","status":400}"#, "failure: bad");
        check(r#"{"error":"line 2: away","status":503}"#, "broken, 503: 503: away");
        check(r#"{"error":"line 2: late","status":504}"#, "broken, 504: 504: late");
        check(r#"{"error":"line 2: slower","status":429}"#, "broken, 429: 429: slower");
        check(r#"{"error":"line 3: bad"}"#, "broken, 503: line 3: bad");
        check(r#"{"error":"The body is over","status":408}"#, "broken, 408: 408: The body is over");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        assert!(may_pass(&Error::unavailable("")) && may_pass(&Error::request_timeout("")));
        assert!(!may_pass(&Error::not_found("")) && !may_pass(&Error::unimplemented("")));
    }

    #[test]
    fn only_lines_are_lines() {
        assert!(is_lines("application/x-ndjson") && is_lines("Application/JSONL; charset=utf-8"));
        assert!(!is_lines("application/json") && !is_lines("text/html") && !is_lines(""));
    }
}
