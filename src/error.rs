//! The one error of the crate: a canonical gRPC code and a message for the client.
//!
//! The code decides the HTTP status by the table below, which is TensorFlow Serving's own.
//! An error is logged once, where it becomes a response; nothing here logs.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use tonic::Code;

/// What went wrong, in the terms both of gRPC (the code) and of the client (the message).
///
/// The message is shown to clients as it is, so it never holds the text of a `source`. Clones are
/// for several requests that fail of the same cause, and share it.
#[derive(Debug, Clone)]
pub struct Error {
    code: Code,
    message: String,
    status: Option<StatusCode>,
    allow: Option<&'static str>,
    retry_after: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The most bytes of a message. It may quote what a client has sent, such as a name of many megabytes, which would be
/// in the reply and in the log once more, each time with escapes.
const MOST_MESSAGE: usize = 64 << 10;

/// A message that is not too long.
fn bounded(mut message: String) -> String {
    if message.len() > MOST_MESSAGE {
        let end = (0..=MOST_MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or_default();
        message.truncate(end);
        message.push('…');
        message.shrink_to_fit();
    }
    message
}

/// The result of everything that can fail towards a client.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given canonical code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = bounded(message.into());
        Self { code, message, status: None, allow: None, retry_after: false, source: None }
    }

    /// The client sent something that cannot be understood or used: 400.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The thing asked for is not here: 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The request is understood but nobody can do it: 501.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, message)
    }

    /// The time allowed ran out: 504.
    pub fn deadline_exceeded(message: impl Into<String>) -> Self {
        Self::new(Code::DeadlineExceeded, message)
    }

    /// The backend answered something that no server should answer, or we have a bug: 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// What the bridge is told to do with requests does not fit the model: 500. The client can do nothing about it.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message).with_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Nobody can answer right now: 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// There are too many requests at once, and it may be worth trying again soon: 503.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self { retry_after: true, ..Self::unavailable(message) }
    }

    /// The client takes too long to send its request: 408.
    pub fn request_timeout(message: impl Into<String>) -> Self {
        Self::new(Code::DeadlineExceeded, message).with_status(StatusCode::REQUEST_TIMEOUT)
    }

    /// Nobody knows who asks: 401.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, message)
    }

    /// Whoever asks may not have it: 403.
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, message)
    }

    /// The body is larger than the configured limit: 413.
    pub fn payload_too_large(message: impl Into<String>) -> Self {
        Self::new(Code::OutOfRange, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// The body is of a type that nobody here can read: 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    /// The reply cannot be of a type that the client accepts: 406.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message).with_status(StatusCode::NOT_ACCEPTABLE)
    }

    /// The path exists, but only for the methods in `allow`: 405.
    pub fn method_not_allowed(message: impl Into<String>, allow: &'static str) -> Self {
        let error = Self::new(Code::InvalidArgument, message).with_status(StatusCode::METHOD_NOT_ALLOWED);
        Self { allow: Some(allow), ..error }
    }

    /// The same error under an HTTP status that the gRPC codes cannot name.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The same error with what it is about in front.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same error with its cause, for the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The canonical gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The methods for the `Allow` header of a 405.
    #[must_use]
    pub fn allow(&self) -> Option<&'static str> {
        self.allow
    }

    /// True for what may go well a second later, as the header `Retry-After` tells.
    #[must_use]
    pub fn retry_after(&self) -> bool {
        self.retry_after
    }

    /// The HTTP status this error is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| http_status(self.code))
    }

    /// The JSON body of this error: `{"error": "..."}`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        body(&self.message, None)
    }

    /// The same where no status goes with it, as for one line of many: `{"error": "...", "status": 503}`. The status
    /// is that of an error that may pass, and left out of others.
    #[must_use]
    pub fn to_json_with_status(&self) -> Vec<u8> {
        let may_pass = matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        body(&self.message, may_pass.then(|| self.status().as_u16()))
    }
}

fn body(error: &str, status: Option<u16>) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        error: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    }
    // Serializing one string into memory cannot fail; an empty body is the honest answer if it did.
    serde_json::to_vec(&Body { error, status }).unwrap_or_default()
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", code_name(self.code), self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A backend's status passes through with its code and its message, unchanged.
impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::new(status.code(), status.message())
    }
}

/// The HTTP status that TensorFlow Serving's REST API gives to a code.
#[must_use]
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The code as TensorFlow spells it, for example `INVALID_ARGUMENT`.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_where_they_are_too_long() {
        let check = |message: String, expected: usize| {
            let error = Error::invalid_argument(message.clone());
            assert_eq!((error.message().len(), error.message().ends_with('…')), (expected, true));
            assert!(message.starts_with(error.message().trim_end_matches('…')));
        };
        check("a".repeat(MOST_MESSAGE + 1), MOST_MESSAGE + 3);
        check(format!("a{}", "é".repeat(MOST_MESSAGE)), MOST_MESSAGE - 1 + 3);
        let longest = "a".repeat(MOST_MESSAGE);
        assert_eq!(Error::internal(longest.clone()).message(), longest);
    }
}
