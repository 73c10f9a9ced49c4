//! What models there are: those of the configuration, and those that somebody has asked for and that there are.
//!
//! The backends are asked, at most once in a second however many want to know; what they say goes to nobody
//! else. A model server cannot be asked for the names of its models, nor for their labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use super::{Bridge, Reply, version};
use crate::codec::catalog::{Catalog, Model, Route};
use crate::codec::model;
use crate::config::CustomRoute;
use crate::error::Result;
use crate::proto::tensorflow::serving::GetModelStatusRequest;
use crate::route::{Target, Version};
use crate::upstream::{Call, Deadline, Upstream};

/// For how long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

/// How long the backends may take for a model, the wait for its turn included.
const LIMIT: Duration = Duration::from_secs(5);

/// The most models that are listed, and how many of them are asked for at once.
const MOST_MODELS: usize = 1000;
const AT_ONCE: usize = 16;

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<Option<(Instant, Arc<Catalog>)>>);

/// The models that a client may see, where those are not all. It comes with the request.
#[derive(Clone)]
pub(crate) struct Visible(pub(crate) Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Visible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Visible")
    }
}

impl Bridge {
    /// Lists the models.
    pub(super) async fn models<B>(&self, request: &Request<B>, call: &Call) -> Result<Reply> {
        let _permit = self.admission.enter(&call.record).await?;
        let catalog = self.catalog_for(request, call).await?;
        self.reply(catalog.to_json(), None, call)
    }

    /// The models that a client may see.
    ///
    /// # Errors
    ///
    /// `DEADLINE_EXCEEDED` if the backends take too long.
    pub(super) async fn catalog_for<B>(&self, request: &Request<B>, call: &Call) -> Result<Arc<Catalog>> {
        let catalog = self.catalog(call).await?;
        Ok(match request.extensions().get::<Visible>() {
            Some(Visible(is_visible)) => Arc::new(catalog.only(|name| is_visible(name))),
            None => catalog,
        })
    }

    /// All models that are known, as they are now or were a second ago.
    ///
    /// # Errors
    ///
    /// `DEADLINE_EXCEEDED` if the backends take too long.
    pub async fn catalog(&self, call: &Call) -> Result<Arc<Catalog>> {
        let look = async {
            let mut found = self.found.0.lock().await;
            if let Some((at, catalog)) = &*found
                && at.elapsed() < FRESH
            {
                return Arc::clone(catalog);
            }
            let catalog = Arc::new(self.ask(call).await);
            *found = Some((Instant::now(), Arc::clone(&catalog)));
            catalog
        };
        call.deadline.limit("listing the models", look).await
    }

    /// One model as it is now, whether or not it is listed.
    ///
    /// # Errors
    ///
    /// What the backend says of an unknown model.
    pub(super) async fn catalog_of(&self, name: &str, call: &Call) -> Result<Catalog> {
        let Named { labels, .. } = self.names().remove(name).unwrap_or_default();
        let model = describe(&self.upstream, name, &labels, call).await?;
        Ok(Catalog { models: vec![model], ..Catalog::default() })
    }

    async fn ask(&self, call: &Call) -> Catalog {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        let mut names: Vec<_> = self.names().into_iter().collect();
        // Of too many, those of the configuration are listed, whatever else clients have asked for.
        names.sort_by_key(|(_, named)| !named.is_listed);
        for (name, Named { labels, is_listed }) in names.into_iter().take(MOST_MODELS) {
            let (upstream, permits) = (self.upstream.clone(), Arc::clone(&permits));
            let call = call.detached(Deadline::after(LIMIT));
            tasks.spawn(async move {
                let _permit = permits.acquire_owned().await;
                match describe(&upstream, &name, &labels, &call).await {
                    Ok(model) => Some(model),
                    // It was there once.
                    Err(error) if error.code() == Code::NotFound && !is_listed => None,
                    Err(error) => Some(Model::unknown(&name, Some(error.message().to_owned()))),
                }
            });
        }
        let mut models: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        models.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let route =
            |route: &CustomRoute| Route { path: route.path.clone(), model: route.target.name.clone() };
        Catalog { models, routes: self.api.routes.iter().map(route).collect() }
    }

    /// The names that are known.
    fn names(&self) -> BTreeMap<String, Named> {
        let mut names: BTreeMap<String, Named> = BTreeMap::new();
        for listed in &self.api.models {
            let entry = names.entry(listed.name.clone()).or_default();
            entry.is_listed = true;
            entry.labels.extend(listed.labels.iter().cloned());
        }
        for name in self.upstream_config.signatures.keys() {
            names.entry(name.clone()).or_default().is_listed = true;
        }
        let routes = self.api.routes.iter().map(|route| (route.target.clone(), true));
        let seen = self.signatures.confirmed().into_iter().map(|target| (target, false));
        for (Target { name, version }, is_listed) in routes.chain(seen) {
            let entry = names.entry(name).or_default();
            entry.is_listed |= is_listed;
            if let Version::Label(label) = version {
                entry.labels.insert(label);
            }
        }
        names
    }
}

/// What is known of a model before the backends are asked.
#[derive(Debug, Default)]
struct Named {
    labels: BTreeSet<String>,
    /// Whether the configuration has it: then it is shown also if it is not there.
    is_listed: bool,
}

async fn describe(upstream: &Upstream, name: &str, labels: &BTreeSet<String>, call: &Call) -> Result<Model> {
    let target = Target { name: name.to_owned(), version: Version::Latest };
    let status = upstream.status(GetModelStatusRequest { model_spec: Some(target.to_spec("")) }, call);
    let ask = |version: Version| {
        let target = Target { name: name.to_owned(), version };
        let request = model::metadata_request(target.to_spec(""));
        async move { upstream.metadata(request, call).await }
    };
    let (status, metadata) = tokio::join!(status, ask(Version::Latest));
    let model = Model::unknown(name, None).with_status(&status?);
    let reply = match metadata {
        Ok(reply) => reply,
        Err(error) => return Ok(Model { error: Some(error.message().to_owned()), ..model }),
    };
    let signatures = model::decode_signatures(&reply)?;
    let mut model = model.with_signatures(version(reply.model_spec.as_ref()), &signatures);
    for label in labels {
        // A label that is gone is no label.
        if let Ok(reply) = ask(Version::Label(label.clone())).await
            && let Some(number) = version(reply.model_spec.as_ref())
        {
            model.add_label(label, number);
        }
    }
    Ok(model)
}
