//! What Amazon SageMaker asks of a container: whether it is ready, and an answer for the body of an invocation.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body::Body;

use super::predict::{Layout, agree};
use super::{Bridge, Reply};
use crate::codec::media::MediaType;
use crate::error::{Error, Result};
use crate::route::sagemaker::{Invocation, Verb};
use crate::upstream::Call;

impl Bridge {
    /// Says whether requests can be answered.
    pub(super) async fn ping(&self) -> Result<Reply> {
        let reasons = self.reasons_against().await;
        if reasons.is_empty() {
            return Ok(Reply::new("application/json", &br#"{"status":"ready"}"#[..]));
        }
        Err(Error::unavailable(reasons.join("; ")))
    }

    /// Answers an invocation as the verb that it is meant for.
    pub(super) async fn invoke<B>(
        self: &Arc<Self>,
        invocation: &Invocation,
        request: Request<B>,
        call: &Call,
    ) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
    {
        let target = &invocation.target;
        match invocation.verb {
            Verb::Predict => {
                let agreement = agree(&request).map(|mut agreement| {
                    let name = &mut agreement.parameters.signature_name;
                    *name = name.take().or_else(|| invocation.signature_name.clone());
                    // Its clients send tables without a line of names, and say nothing of it; and a line of
                    // the reply is to be that of a line of the request, by which batches are joined.
                    let is_table = agreement.request == MediaType::Csv;
                    let header = agreement.content_parameter("header").filter(|_| is_table);
                    if is_table && header.is_none() {
                        agreement.content_type.push_str("; header=absent");
                    }
                    let is_named = || header.is_some_and(|header| header.eq_ignore_ascii_case("present"));
                    agreement.has_names = agreement.has_names.or_else(|| Some(is_named()));
                    agreement
                });
                self.predict_as(target, request, agreement, Layout::MayBeBare, call).await
            }
            Verb::Classify => self.classify(target, request, call).await,
            Verb::Regress => self.regress(target, request, call).await,
        }
    }
}

/// A JSON body as one of predict: SageMaker's clients may send the list of instances alone.
pub(super) fn unwrapped(body: Bytes, call: &Call) -> Result<Bytes> {
    const FRONT: &[u8] = b"{\"instances\":";
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'[') {
        return Ok(body);
    }
    call.memory.hold(body.len() + FRONT.len() + 1)?;
    let mut whole = BytesMut::with_capacity(FRONT.len() + text.len() + 1);
    whole.put_slice(FRONT);
    whole.put_slice(text);
    whole.put_u8(b'}');
    Ok(whole.freeze())
}
