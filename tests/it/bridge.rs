//! A bridge in front of the mock, both real servers on loopback ports of their own.

use std::net::SocketAddr;

use tfbridge::config::{Backend, Config};
use tfbridge::mock::{self, Model, Models};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::backend::{Server, Transport};
use crate::client::Client;

/// Servers that run until they are dropped.
pub struct Bridge {
    pub address: SocketAddr,
    stop: Vec<oneshot::Sender<()>>,
    /// What the bridge stands in front of, where that must live as long.
    _server: Option<Server>,
}

/// The model of the recorded requests: version 123 only.
pub const RECORDED: &str = "saved_model_half_plus_two_2_versions";

/// The built-in models and those of the recorded requests.
pub fn models() -> Models {
    let recorded = |name| Model::half_plus(name, 2.0).versions([123]).label("Version_Label", 123);
    Models::builtin().with(recorded(RECORDED)).with(recorded("default"))
}

impl Bridge {
    /// A bridge to the mock with these models.
    pub async fn start(models: Models) -> Self {
        Self::start_with(models, |_| {}).await
    }

    /// The same with a configuration of its own.
    pub async fn start_with(models: Models, configure: impl FnOnce(&mut Config)) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = backend.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            mock::serve(backend, models, async { drop(stopped.await) }).await.unwrap();
        });
        let mut bridge = Self::in_front_of(&address.to_string(), configure).await;
        bridge.stop.push(stop);
        bridge
    }

    /// A bridge to the mock over a transport.
    pub async fn over(transport: Transport, models: Models) -> Self {
        let server = Server::start(transport, models).await;
        let bridge = Self::to(&server, |_| {}).await;
        Self { _server: Some(server), ..bridge }
    }

    /// A bridge to such a mock, which the caller keeps.
    pub async fn to(server: &Server, configure: impl FnOnce(&mut Config)) -> Self {
        let tls = server.tls();
        Self::in_front_of(&server.backend().to_string(), |config| {
            config.upstream.tls = tls;
            configure(config);
        })
        .await
    }

    /// A bridge to a server that runs elsewhere.
    pub async fn in_front_of(backend: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::new(backend.parse().unwrap());
        configure(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            tfbridge::run(config, listener, async { drop(stopped.await) }).await.unwrap();
        });
        Self { address, stop: vec![stop], _server: None }
    }

    /// A bridge to a pool of servers that run elsewhere.
    pub async fn in_front_of_all(backends: Vec<Backend>, configure: impl FnOnce(&mut Config)) -> Self {
        Self::in_front_of("127.0.0.1:1", |config| {
            config.upstream.backends = backends;
            configure(config);
        })
        .await
    }

    /// Tells it to end.
    pub fn drain(&mut self) {
        // The first one is its own: what it stands in front of goes on.
        if !self.stop.is_empty() {
            drop(self.stop.remove(0));
        }
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }
}
