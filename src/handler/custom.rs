//! Routes of one's own: their requests go the way of predict's, with bodies that the configuration lays out.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;

use super::attempts::Undecoded;
use super::body::{discard, read};
use super::predict::agree;
use super::{Bridge, Reply, memory, version};
use crate::codec::Limits;
use crate::codec::body::{self, Decoded, Rules};
use crate::codec::custom;
use crate::codec::media::{Agreement, MediaType};
use crate::codec::predict::Inputs;
use crate::codec::signature::Signatures;
use crate::codec::stream::Stream;
use crate::config::CustomRoute;
use crate::error::{Error, Result};
use crate::record::Part;
use crate::signature::Known;
use crate::upstream::Call;

/// A body of such a route.
struct Custom {
    route: Arc<CustomRoute>,
    agreement: Agreement,
    body: Bytes,
}

impl Undecoded for Custom {
    type Form = ();

    fn size(&self) -> usize {
        self.body.len()
    }

    fn most_memory(&self, _: usize, signatures: Option<&Signatures>, limits: &Limits) -> usize {
        // A fixed input is read out of its text as if it were a body of its own.
        let fixed = self.route.mapping.fixed.values();
        let fixed = fixed.map(|text| memory::of_tensors(MediaType::Json, text, signatures, limits));
        memory::of_tensors(self.agreement.request, &self.body, signatures, limits)
            .saturating_add(body::memory(&self.agreement, &self.body, signatures))
            .saturating_add(fixed.fold(0, usize::saturating_add))
    }

    fn memory(&self, inputs: &Inputs) -> usize {
        let strings: usize = inputs.values().flat_map(|tensor| &tensor.string_val).map(Bytes::len).sum();
        let tensors: usize = inputs.values().map(memory::of_tensor).sum();
        2 * self.body.len().max(strings) + tensors
    }

    fn decode(
        &self,
        signatures: Option<&Signatures>,
        rules: &Rules,
        _: Option<Stream>,
    ) -> Result<Decoded<()>> {
        custom::decode(&self.route.mapping, &self.agreement, &self.body, signatures, rules)
    }
}

impl Bridge {
    /// Runs the signature of a route of one's own.
    pub(super) async fn custom<B>(
        &self,
        route: &Arc<CustomRoute>,
        request: Request<B>,
        call: &Call,
    ) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let agreement = match agree(&request).and_then(check_types) {
            Ok(agreement) => agreement,
            Err(error) => {
                discard(request).await;
                return Err(error);
            }
        };
        let target = &route.target;
        let known = call.record.measure(Part::Decode, self.signatures.get(target, call)).await;
        if let Ok(Known { version: Some(version), .. }) = known.as_deref() {
            call.record.note_subject(&target.name, "", Some(*version));
        }
        let (body, _) = read(request, (&self.api).into(), call, None).await?;
        let _permit = self.admission.enter(&call.record).await?;
        let media_type = agreement.reply;
        let undecoded = Custom { route: Arc::clone(route), agreement, body };
        let ((), answer) = self.attempts(target, undecoded, known?, None, call).await?;
        let reply = answer.into_tensors()?;
        let model_version = version(reply.model_spec.as_ref());
        let form = body::form(media_type, route.mapping.format.of_predict());
        let room = |reply: &_, size| form.memory(reply, size);
        let mapped = Arc::clone(route);
        let encode = move |reply, nan| custom::encode(&mapped.mapping, media_type, reply, nan);
        let encoded = self.encode(reply, call, room, encode).await?;
        self.reply_of(encoded, model_version, call)
    }
}

/// A message of the gRPC API names its model and inputs itself, which is what these routes are there to do.
fn check_types(agreement: Agreement) -> Result<Agreement> {
    if agreement.request == MediaType::Protobuf {
        return Err(Error::unsupported_media_type(format!(
            "Bodies of type {:?} cannot be read here; application/json can",
            MediaType::Protobuf.name()
        )));
    }
    Ok(agreement)
}
