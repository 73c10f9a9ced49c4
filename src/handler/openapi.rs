//! The document that describes the API, as the models are now or were a second ago.
//!
//! It has a tag made of its bytes, so that who keeps it need not be sent what has not changed. The one that was made last
//! is kept here, too, since the models change rarely.

use std::sync::{Arc, Mutex, PoisonError};

use base64_simd::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Request};
use ring::digest::{SHA256, digest};

use super::{Bridge, Reply, Visible};
use crate::codec::MAX_RANK;
use crate::codec::body::Encoded;
use crate::codec::catalog::{Catalog, Model, Signature};
use crate::codec::media::MediaType;
use crate::codec::openapi::{self, CustomPath, Options};
use crate::config::CustomRoute;
use crate::error::{Error, Result};
use crate::record::Part;
use crate::route::sagemaker::SageMaker;
use crate::route::{Target, Version};
use crate::upstream::Call;
use crate::upstream::offload::offload;

/// About how many bytes the document has for a signature, and for each of its inputs and outputs, in memory and as text.
const PER_SIGNATURE: usize = 32 << 10;
const PER_TENSOR: usize = 16 << 10;

/// The same for each of their dimensions: every list around the elements is an object, in each form of a body.
const PER_DIMENSION: usize = 8 << 10;

/// The most bytes of a document that is kept: what no request holds is in nobody's account.
const MOST_KEPT: usize = 4 << 20;

/// How many bytes of the hash are in a tag.
const TAG_BYTES: usize = 15;

/// The document that was made last. All else that it depends on stays the same as long as the bridge is there.
#[derive(Debug, Default)]
pub(super) struct Made(Mutex<Option<(Subject, Bytes)>>);

/// What a document is about.
#[derive(Debug, Clone, PartialEq)]
struct Subject {
    catalog: Arc<Catalog>,
    /// The model of SageMaker's paths, if they are among them.
    sagemaker: Option<String>,
}

impl Made {
    /// The document, if it is the one that was made last.
    fn get(&self, subject: &Subject) -> Option<Bytes> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.as_ref().filter(|(of, _)| of == subject).map(|(_, body)| body.clone())
    }

    /// Keeps a document in place of the one before, unless it is too large.
    fn put(&self, subject: Subject, body: &Bytes) {
        let made = (body.len() <= MOST_KEPT).then(|| (subject, body.clone()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = made;
    }
}

/// A strong entity tag, as HTTP has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntityTag {
    /// With its quotes.
    pub(crate) value: HeaderValue,
    /// Whether the client has what it stands for.
    pub(crate) is_known: bool,
}

impl EntityTag {
    /// The tag of a body that is asked for with these headers.
    pub(crate) fn new(body: &[u8], headers: &HeaderMap) -> Option<Self> {
        let hash = digest(&SHA256, body);
        let hash = hash.as_ref().get(..TAG_BYTES).unwrap_or_default();
        let text = STANDARD_NO_PAD.encode_to_string(hash);
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
            // Compressed it is the same to us.
            let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
            tag == "*" || tag.split('-').next() == Some(text.as_str())
        });
        let value = HeaderValue::try_from(format!("\"{text}\"")).ok()?;
        Some(Self { value, is_known })
    }
}

impl Bridge {
    /// The routes of one's own for these models.
    fn custom_paths(&self, catalog: &Catalog) -> Vec<CustomPath> {
        let routes = self.api.routes.iter();
        let shown = routes.filter(|route| catalog.models.iter().any(|model| model.name == route.target.name));
        let path = |route: &CustomRoute| {
            let (version, label) = match &route.target.version {
                Version::Latest => (None, None),
                Version::Number(number) => (Some(*number), None),
                Version::Label(label) => (None, Some(label.clone())),
            };
            let (path, model) = (route.path.clone(), route.target.name.clone());
            CustomPath { path, model, version, label, mapping: route.mapping.clone() }
        };
        shown.map(path).collect()
    }

    /// Describes the API: for all models that the client may see, or for one.
    pub(super) async fn openapi<B>(
        &self,
        target: Option<&Target>,
        request: &Request<B>,
        call: &Call,
    ) -> Result<Reply> {
        if !self.api.docs {
            return Err(Error::not_found("There is no description of the API here: --docs is off"));
        }
        let _permit = self.admission.enter(&call.record).await?;
        let catalog = match target {
            None => self.catalog_for(request, call).await?,
            Some(target) => self.catalog_of(&target.name, call).await?.into(),
        };
        let sagemaker = self.api.sagemaker.as_ref().map(SageMaker::model);
        let sagemaker = sagemaker.filter(|name| match (target, request.extensions().get::<Visible>()) {
            (Some(target), _) => target.name == *name,
            (None, Some(Visible(is_visible))) => is_visible(name),
            (None, None) => true,
        });
        let subject = Subject { catalog, sagemaker: sagemaker.map(str::to_owned) };
        let body = match self.made.get(&subject) {
            Some(body) => body,
            None => self.make(subject, call).await?,
        };
        let entity_tag = EntityTag::new(&body, request.headers());
        let encoded = Encoded { body, content_type: MediaType::Json.name() };
        Ok(Reply { entity_tag, ..self.reply_of(encoded, None, call)? })
    }

    /// Makes the document, and keeps it.
    async fn make(&self, subject: Subject, call: &Call) -> Result<Bytes> {
        let options = Options {
            nan: self.api.nan,
            has_tokens: self.has_tokens,
            sagemaker: subject.sagemaker.clone(),
            custom: self.custom_paths(&subject.catalog),
        };
        let size = subject.catalog.models.iter().map(size).fold(0, usize::saturating_add);
        call.memory.hold(size)?;
        let catalog = Arc::clone(&subject.catalog);
        let encode = move || Ok(openapi::to_json(&catalog, &options));
        let body = call.record.measure(Part::Encode, offload(size, &call.memory, encode)).await?.into();
        self.made.put(subject, &body);
        Ok(body)
    }
}

/// About how many bytes the document takes for a model.
fn size(model: &Model) -> usize {
    let signatures = model.signatures.iter().flatten();
    let tensors = |signature: &Signature| {
        let tensors = signature.inputs.values().chain(signature.outputs.values());
        let ranks = tensors.map(|tensor| tensor.shape.as_ref().map_or(0, Vec::len));
        ranks.map(|rank| PER_TENSOR + rank.min(MAX_RANK) * PER_DIMENSION).fold(0, usize::saturating_add)
    };
    signatures
        .map(|(_, signature)| PER_SIGNATURE.saturating_add(tensors(signature)))
        .fold(PER_SIGNATURE, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_for_what_it_is_about() {
        let subject = |name: &str, sagemaker: Option<&str>| {
            let catalog = Catalog { models: vec![Model::unknown(name, None)], ..Catalog::default() };
            Subject { catalog: catalog.into(), sagemaker: sagemaker.map(str::to_owned) }
        };
        let (made, body) = (Made::default(), Bytes::from_static(b"{}"));
        assert_eq!(made.get(&subject("a", None)), None);
        made.put(subject("a", None), &body);
        assert_eq!(made.get(&subject("a", None)), Some(body.clone()));
        for other in [subject("b", None), subject("a", Some("a"))] {
            assert_eq!(made.get(&other), None);
        }
        made.put(subject("b", None), &body);
        assert_eq!((made.get(&subject("a", None)), made.get(&subject("b", None))), (None, Some(body)));
        made.put(subject("a", None), &vec![0; MOST_KEPT + 1].into());
        assert_eq!(made.get(&subject("a", None)), None);
    }

    #[test]
    fn a_tag_is_known_in_all_its_forms() {
        let tag = |known: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(known) = known {
                headers.insert(IF_NONE_MATCH, known.parse().unwrap());
            }
            EntityTag::new(b"{}", &headers).unwrap()
        };
        let own = tag(None);
        assert!(!own.is_known);
        let text = own.value.to_str().unwrap().to_owned();
        assert_eq!(text.len(), 22);
        let gzip = text.replace('"', "");
        for known in [text.clone(), format!("\"x\", W/{text}"), format!("\"{gzip}-gzip\""), "*".to_owned()] {
            assert!(tag(Some(&known)).is_known, "{known}");
        }
        for other in ["\"x\"", "", "\"-gzip\""] {
            assert!(!tag(Some(other)).is_known, "{other}");
        }
        assert_ne!(EntityTag::new(b"[]", &HeaderMap::new()).unwrap().value, own.value);
    }
}
