//! Predict for lines that are answered while they arrive: batches of them are under way to the model, some at
//! once, while more are read and the answers to earlier ones are taken by the client.
//!
//! | who does not keep up | what waits |
//! |---|---|
//! | the client sends slowly | a batch goes off with what there is after some milliseconds |
//! | the model | nothing is read while as many batches are under way as there may be |
//! | the client does not read | nothing is read while more is waiting for it than there may be |
//!
//! All of this is one task, which ends with the response: whatever is under way then is cancelled.

mod batch;
mod drive;
mod inbox;
mod inflation;
mod outbox;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;

use super::body::discard;
use super::{Bridge, Reply};
use crate::codec::body::untold;
use crate::codec::media::{Agreement, MediaType};
use crate::error::Result;
use crate::route::Target;
use crate::signature::Known;
use crate::upstream::Call;
use batch::Job;
pub(crate) use outbox::Stream;

impl Bridge {
    /// Runs a signature on lines, and answers with lines.
    pub(super) async fn stream<B>(
        self: &Arc<Self>,
        target: &Target,
        request: Request<B>,
        agreement: Arc<Agreement>,
        call: &Call,
    ) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
    {
        let known = match self.known_for_lines(target, &agreement, call).await {
            Ok(known) => known,
            Err(error) => {
                discard(request).await;
                return Err(error);
            }
        };
        let (outbox, stream) = outbox::new(self.api.streams.buffer);
        let job = Arc::new(Job::new(self, target, agreement, call, &outbox.shared));
        let mut stream = stream.of(job.run(request, outbox));
        stream.begin().await?;
        Ok(Reply {
            body: Bytes::new(),
            content_type: MediaType::Lines.name(),
            model_version: known.version,
            json_length: None,
            stream: Some(stream),
            entity_tag: None,
        })
    }

    /// The signatures of the model, if the one that is asked for is among them.
    async fn known_for_lines(
        &self,
        target: &Target,
        agreement: &Agreement,
        call: &Call,
    ) -> Result<Arc<Known>> {
        let known = self.signatures.get(target, call).await?;
        let name = agreement.parameters.signature_name.as_deref().unwrap_or_default();
        let has_it = |known: &Known| known.signatures.as_ref().ok_or_else(untold)?.get(name).map(drop);
        match has_it(&known) {
            Ok(()) => Ok(known),
            Err(error) => match self.signatures.refresh(target, &known, call).await {
                Ok(newer) => has_it(&newer).map(|()| newer),
                Err(_) => Err(error),
            },
        }
    }
}
