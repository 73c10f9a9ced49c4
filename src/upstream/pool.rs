//! The endpoints of a pool: which one the next call goes to, and which are left out for now.
//!
//! Of two endpoints chosen at random the less loaded one gets the call. An endpoint that fails is
//! ejected: it gets no calls until a probe finds it well again, first after a moment, then after
//! longer and longer ones. The last endpoint is never ejected, and a call that finds no other
//! tries ejected ones, too.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::endpoint::Endpoint;
use super::failure::Kind;
use super::health::LONGEST_PAUSE;

/// How many times in a row an endpoint may say that it is not available before it is ejected:
/// TensorFlow Serving says so, too, when its queues are full.
const UNAVAILABLE_IN_A_ROW: u32 = 5;

/// The endpoints.
#[derive(Debug, Default)]
pub(super) struct Pool {
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// Held while the set changes, and while one is ejected, so that the last one never is.
    change: Mutex<()>,
}

impl Pool {
    /// All endpoints.
    pub(super) fn endpoints(&self) -> Arc<Vec<Arc<Endpoint>>> {
        self.endpoints.load_full()
    }

    /// Exchanges the set. Calls that are under way on endpoints that leave it are finished.
    pub(super) fn set(&self, endpoints: Vec<Arc<Endpoint>>) {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.endpoints.store(Arc::new(endpoints));
    }

    /// The endpoint for the next attempt, one that has not been tried if there is one.
    pub(super) fn pick(&self, tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        if let [only] = endpoints.as_slice() {
            return Some(Arc::clone(only));
        }
        let is_new = |endpoint: &Arc<Endpoint>| !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint));
        let well = |endpoint: &&Arc<Endpoint>| !endpoint.health.is_ejected();
        let new = |endpoint: &&Arc<Endpoint>| is_new(endpoint);
        better_of_two(endpoints.iter().filter(well).filter(new))
            .or_else(|| better_of_two(endpoints.iter().filter(new)))
            .or_else(|| better_of_two(endpoints.iter().filter(well)))
            .or_else(|| better_of_two(endpoints.iter()))
            .cloned()
    }

    /// Takes note of how an attempt ended: `None` for a good answer. Tells whether the endpoint is ejected
    /// for it.
    pub(super) fn report(&self, endpoint: &Arc<Endpoint>, failure: Option<Kind>) -> bool {
        match failure {
            None | Some(Kind::Answer) => {
                endpoint.health.is_well();
                false
            }
            Some(Kind::Transport) => self.eject(endpoint),
            Some(Kind::Unavailable) => {
                endpoint.health.is_unavailable() >= UNAVAILABLE_IN_A_ROW && self.eject(endpoint)
            }
        }
    }

    /// Leaves an endpoint out for now, unless it is already or is the last one.
    fn eject(&self, endpoint: &Arc<Endpoint>) -> bool {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = self.endpoints.load();
        let others = endpoints.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        let is_last = others.clone().all(|other| other.health.is_ejected());
        if is_last || endpoint.health.is_ejected() {
            return false;
        }
        let pause = endpoint.health.eject();
        tracing::warn!(endpoint = %endpoint.address(), ?pause, "a backend fails and gets no calls for now");
        tokio::spawn(probe(Arc::downgrade(endpoint), pause));
        true
    }
}

/// Of two that are chosen at random the less loaded one.
fn better_of_two<'a>(
    mut candidates: impl Iterator<Item = &'a Arc<Endpoint>> + Clone,
) -> Option<&'a Arc<Endpoint>> {
    let count = candidates.clone().count();
    let first = fastrand::usize(..count.max(1));
    // One of the others, each with the same chance.
    let second = (first + 1 + fastrand::usize(..count.saturating_sub(1).max(1))) % count.max(1);
    let (first, second) = (candidates.clone().nth(first)?, candidates.nth(second)?);
    let now = Instant::now();
    let is_worse = first.load.snapshot(now).is_worse_than(second.load.snapshot(now));
    Some(if is_worse { second } else { first })
}

/// Looks after an ejected endpoint until it is well or gone.
async fn probe(endpoint: Weak<Endpoint>, mut pause: Duration) {
    loop {
        // Many bridges must not come back at the same moment.
        tokio::time::sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        let Some(endpoint) = endpoint.upgrade() else { return };
        if !endpoint.health.is_ejected() {
            return;
        }
        match endpoint.check().await {
            Ok(()) => {
                tracing::info!(endpoint = %endpoint.address(), "a backend is well again");
                endpoint.health.is_well();
                return;
            }
            Err(error) => tracing::debug!(endpoint = %endpoint.address(), %error, "a backend still fails"),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
