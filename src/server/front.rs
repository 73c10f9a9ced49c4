//! What all connections share: the bridge and the settings as they are now, and the connections that
//! there are.
//!
//! The settings can be replaced while requests run; each request keeps those that it began with.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::access::Access;
use super::crowd::Crowd;
use super::drain::{Drain, Phase};
use super::tls;
use super::watch::{self, Noted, Watch};
use crate::config::{Config, ServerConfig, ServerTls, TelemetryConfig};
use crate::error::{Error, Result};
use crate::handler::Bridge;
use crate::telemetry::{PayloadLog, Tracer};

/// How often files are looked at for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub struct Front {
    state: ArcSwap<State>,
    /// The connections to the API's ports, and those to the admin port.
    pub(super) crowd: Crowd,
    pub(super) admin_crowd: Crowd,
    phase: tokio::sync::watch::Sender<Phase>,
    drain: Drain,
}

/// The bridge and the settings as they are at one time.
#[derive(Debug)]
pub(super) struct State {
    pub(super) bridge: Arc<Bridge>,
    pub(super) access: Arc<Access>,
    pub(super) server: ServerConfig,
    pub(super) telemetry: TelemetryConfig,
    pub(super) tracer: Option<Arc<Tracer>>,
    /// What `/statusz` shows of the configuration.
    pub(super) settings: serde_json::Value,
    pub(super) tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// Looks at the certificates.
    _watch: Option<Watch>,
}

impl Front {
    /// The front of a bridge with this configuration.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for certificates or a collector that cannot be used.
    pub fn new(config: &Config) -> Result<Self> {
        let state = State::new(config, Bridge::new(config), None, None)?;
        let (phase, drain) = Drain::new();
        Ok(Self {
            state: ArcSwap::from_pointee(state),
            crowd: Crowd::default(),
            admin_crowd: Crowd::default(),
            phase,
            drain,
        })
    }

    /// Puts another configuration in place, but for the sockets, which stay. Connections to backends
    /// stay, too, if nothing about them has changed.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for certificates or a collector that cannot be used; nothing is changed then.
    pub fn reload(&self, config: &Config) -> Result<()> {
        let before = self.state();
        let state =
            State::new(config, before.bridge.renewed(config), Some(&before.access), before.tracer.as_ref())?;
        self.state.store(Arc::new(state));
        Ok(())
    }

    /// Sends what is left of the traces, and writes what is left of the requests that are kept, as far as
    /// this time allows.
    pub(crate) async fn flush(&self, patience: Duration) {
        let state = self.state();
        let traces = async {
            if let Some(tracer) = &state.tracer {
                tracer.flush(patience).await;
            }
        };
        let requests = async {
            if let Some(payload_log) = &state.bridge.payload_log {
                payload_log.flush(patience).await;
            }
        };
        tokio::join!(traces, requests);
    }

    /// Goes on to the next phase of the process.
    pub(super) fn enter(&self, phase: Phase) {
        if phase > Phase::Serving {
            self.state().bridge.leave();
        }
        self.phase.send_replace(phase);
    }

    /// The phases of the API's ports.
    pub(super) fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// The bridge and the settings as they are now.
    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }
}

impl State {
    fn new(
        config: &Config,
        bridge: Bridge,
        access: Option<&Access>,
        tracer: Option<&Arc<Tracer>>,
    ) -> Result<Self> {
        let mut bridge = bridge;
        let before = bridge.payload_log.take();
        if let Some(config) = &config.telemetry.payload_log {
            bridge.payload_log = Some(Arc::new(PayloadLog::start(config, before.as_deref())?));
        }
        let same = |traces| tracer.filter(|tracer| tracer.config() == traces).cloned();
        let start = |traces| same(traces).map_or_else(|| Tracer::start(traces), Ok);
        let tracer = config.telemetry.traces.as_ref().map(start).transpose()?;
        let files = config.server.tls.as_ref();
        let noted = files.map(|files| Noted::now(files.paths().cloned().collect()));
        let tls = files.map(load_tls).transpose()?.map(|tls| Arc::new(ArcSwap::from_pointee(tls)));
        Ok(Self {
            bridge: Arc::new(bridge),
            access: Access::start(&config.access, &config.api.return_headers, access),
            server: config.server.clone(),
            telemetry: config.telemetry.clone(),
            tracer,
            settings: config.settings.clone(),
            _watch: noted.zip(files).zip(tls.clone()).map(|((noted, files), tls)| watch(noted, files, tls)),
            tls,
        })
    }
}

/// Reads the certificates again when they change. If they cannot be used, those that were read last
/// stay.
fn watch(noted: Noted, files: &ServerTls, tls: Arc<ArcSwap<rustls::ServerConfig>>) -> Watch {
    let files = files.clone();
    watch::spawn(noted, LOOK_INTERVAL, move || match tls::load(&files) {
        Ok(config) => {
            tls.store(Arc::new(config));
            tracing::info!("the certificates have been read again");
        }
        Err(error) => tracing::warn!(%error, "the new certificates cannot be used"),
    })
}

/// Reads the files of TLS to the clients.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if they cannot be used.
pub(crate) fn load_tls(files: &ServerTls) -> Result<rustls::ServerConfig> {
    tls::load(files)
        .map_err(|error| Error::invalid_argument(format!("The certificates cannot be used: {error}")))
}
