//! What went wrong in one attempt at a call, and whether another attempt makes sense.

use http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

use crate::error::Error;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the client gets if this was the last attempt.
    pub(super) error: Error,
    pub(super) kind: Kind,
}

/// What a failure means for the request and for the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection, or one that broke before the reply: try again elsewhere.
    Transport,
    /// The backend says that it cannot answer now: try again elsewhere.
    Unavailable,
    /// An answer, if not the one that was hoped for.
    Answer,
}

impl Failure {
    /// A connection that could not be made or broke.
    pub(super) fn transport(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        let error = Error::unavailable("The backend cannot be reached").with_source(cause);
        Self { error, kind: Kind::Transport }
    }

    /// What another attempt would not change.
    pub(super) fn answer(error: Error) -> Self {
        Self { error, kind: Kind::Answer }
    }

    /// A reply that breaks the rules of gRPC. Another attempt would most likely end like it.
    pub(super) fn invalid_reply(what: &str) -> Self {
        let error = Error::internal(format!("The backend does not answer as it should: {what}"));
        Self { error, kind: Kind::Answer }
    }

    /// The backend's own verdict.
    pub(super) fn status(status: Status) -> Self {
        let kind = if status.code() == Code::Unavailable { Kind::Unavailable } else { Kind::Answer };
        Self { error: status.into(), kind }
    }

    /// The verdict in these headers or trailers, if there is one and it is bad.
    pub(super) fn in_headers(headers: &HeaderMap) -> Option<Self> {
        let status = Status::from_header_map(headers)?;
        (status.code() != Code::Ok).then(|| Self::status(status))
    }

    /// What the status of an HTTP response without any gRPC status means, after gRPC's
    /// `http-grpc-status-mapping`.
    pub(super) fn http(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502..=504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        Self::status(Status::new(code, format!("The backend answered with HTTP status {status}")))
    }
}
