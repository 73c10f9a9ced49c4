//! The endpoints behind the backends of the configuration, looked up again and again where a
//! backend is a name with many addresses.
//!
//! An address that stays keeps its endpoint, with its connections and all that is known of it.
//! While a name cannot be looked up, what was found last stays in use.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::address::Address;
use super::endpoint::Endpoint;
use super::pool::Pool;
use super::tls::Tls;
use crate::config::{Backend, Place, UpstreamConfig};

/// A pool and the names that fill it.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) pool: Arc<Pool>,
    config: UpstreamConfig,
    tls: Arc<Tls>,
    /// The endpoints of each backend, in the order of the configuration.
    found: Mutex<Vec<Vec<Arc<Endpoint>>>>,
    /// How many look-ups have ended.
    lookups: watch::Sender<u64>,
}

impl Discovery {
    /// Fills a pool with the backends of the configuration, and keeps looking names up for as
    /// long as somebody holds on to it.
    pub(super) fn start(config: &UpstreamConfig) -> Arc<Self> {
        let fixed = |backend: &Backend| match &backend.place {
            Place::Address { host, port } => Some(Address::Name { host: host.clone(), port: *port }),
            Place::Unix(path) => Some(Address::Unix(path.clone())),
            Place::Dns { .. } => None,
        };
        let tls = Arc::new(Tls::new(config.tls.clone()));
        if config.backends.iter().any(|backend| backend.tls) {
            tls.read();
        }
        let endpoints = |backend: &Backend| {
            let endpoint = |address| Arc::new(Endpoint::new(address, backend, config, &tls));
            fixed(backend).map(endpoint).into_iter().collect()
        };
        let found = Mutex::new(config.backends.iter().map(endpoints).collect());
        let discovery = Arc::new(Self {
            pool: Arc::default(),
            config: config.clone(),
            found,
            tls,
            lookups: watch::channel(0).0,
        });
        discovery.publish();
        for (index, backend) in config.backends.iter().enumerate() {
            if let Place::Dns { name, port } = &backend.place {
                let discovery = Arc::downgrade(&discovery);
                tokio::spawn(follow(discovery, index, name.clone(), *port, config.clone()));
            }
        }
        discovery
    }

    /// Tells of every look-up that has ended.
    pub(super) fn lookups(&self) -> watch::Receiver<u64> {
        self.lookups.subscribe()
    }

    /// Takes the addresses of a name into use.
    fn update(&self, index: usize, addresses: &BTreeSet<SocketAddr>) {
        let Some(backend) = self.config.backends.get(index) else { return };
        {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(endpoints) = found.get_mut(index) else { return };
            let before = std::mem::take(endpoints);
            *endpoints = addresses
                .iter()
                .map(|&address| {
                    let address = Address::Socket(address);
                    let known = before.iter().find(|endpoint| *endpoint.address() == address);
                    known.cloned().unwrap_or_else(|| {
                        tracing::info!(endpoint = %address, "a backend has come");
                        Arc::new(Endpoint::new(address, backend, &self.config, &self.tls))
                    })
                })
                .collect();
            for endpoint in &before {
                if !endpoints.iter().any(|kept| Arc::ptr_eq(kept, endpoint)) {
                    tracing::info!(endpoint = %endpoint.address(), "a backend has gone");
                }
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        self.pool.set(found.iter().flatten().cloned().collect());
    }
}

/// How soon a name that could not be looked up is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Looks a name up again and again.
async fn follow(discovery: Weak<Discovery>, index: usize, name: String, port: u16, config: UpstreamConfig) {
    loop {
        let found = tokio::time::timeout(config.connect_timeout, config.resolver.lookup(&name, port)).await;
        let Some(discovery) = discovery.upgrade() else { return };
        let pause = match found {
            Ok(Ok(addresses)) if !addresses.is_empty() => {
                discovery.update(index, &addresses.into_iter().collect());
                config.dns_interval
            }
            Ok(Ok(_)) => {
                tracing::warn!(name, "the name of the backends has no addresses");
                RETRY.min(config.dns_interval)
            }
            Ok(Err(error)) => {
                tracing::warn!(name, %error, "the name of the backends cannot be looked up");
                RETRY.min(config.dns_interval)
            }
            Err(_) => {
                tracing::warn!(name, "the name of the backends could not be looked up in time");
                RETRY.min(config.dns_interval)
            }
        };
        discovery.lookups.send_modify(|count| *count += 1);
        drop(discovery);
        tokio::time::sleep(pause).await;
    }
}
