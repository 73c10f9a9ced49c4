//! New model configs for the backends.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body;
use serde_json::{Value, json};
use tonic::Code;

use super::{Bridge, body};
use crate::codec::model;
use crate::error::{Error, Result, code_name};
use crate::upstream::Call;

/// The most bytes of a config: it names models, it does not hold them.
const MAX_SIZE: usize = 4 << 20;

/// What the backends said to a new config.
#[derive(Debug)]
pub struct Reloaded {
    /// The address of each backend, and why it refused.
    backends: Vec<(String, Result<()>)>,
}

impl Reloaded {
    /// 200 if all have taken it, else the status of the first refusal.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let refusal = self.backends.iter().find_map(|(_, answer)| answer.as_ref().err());
        refusal.map_or(StatusCode::OK, Error::status)
    }

    /// `{"backends": {"HOST:PORT": {"error_code": "OK", "error_message": ""}}}`, and an `error` if
    /// there is one.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let status = |answer: &Result<()>| match answer {
            Ok(()) => json!({ "error_code": code_name(Code::Ok), "error_message": "" }),
            Err(error) => json!({ "error_code": code_name(error.code()), "error_message": error.message() }),
        };
        let backends: serde_json::Map<_, _> =
            self.backends.iter().map(|(address, answer)| (address.clone(), status(answer))).collect();
        let mut reply = json!({ "backends": Value::Object(backends) });
        let refused = self.backends.iter().filter(|(_, answer)| answer.is_err()).count();
        if refused > 0 {
            reply["error"] =
                format!("{refused} of {} backends refused the config", self.backends.len()).into();
        }
        reply.to_string().into_bytes()
    }
}

impl Bridge {
    /// Passes a `ReloadConfigRequest`, in protobuf's JSON, to every backend.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a body that is none, `UNAVAILABLE` if there are no backends.
    pub async fn reload<B>(&self, request: Request<B>, call: &Call) -> Result<Reloaded>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let limits = body::BodyLimits { size: MAX_SIZE, ..(&self.api).into() };
        let (body, _) = body::read(request, limits, call, None).await?;
        let config = model::decode_reload(&body)?;
        let answers = self.upstream.reload(&config, call).await?;
        let verdict = |reply: crate::proto::tensorflow::serving::ReloadConfigResponse| {
            let status = reply.status.unwrap_or_default();
            match Code::from(status.error_code) {
                Code::Ok => Ok(()),
                code => Err(Error::new(code, status.error_message)),
            }
        };
        let backends = answers.into_iter().map(|(address, answer)| (address, answer.and_then(verdict)));
        Ok(Reloaded { backends: backends.collect() })
    }
}
