//! The address of a backend as users write it, and how names are looked up.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use http::Uri;

use super::socket;

/// A backend: one server, or all servers behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Where it is.
    pub place: Place,
    /// Whether it is called over TLS.
    pub tls: bool,
}

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One server: `http://HOST:PORT` or `https://HOST:PORT`.
    Address {
        /// A name or an address, without brackets.
        host: String,
        /// TensorFlow Serving's gRPC port is 8500.
        port: u16,
    },
    /// A server on this machine: `unix:/PATH`.
    Unix(PathBuf),
    /// Every address of a name: `dns:///NAME:PORT`, or `dns+tls:///NAME:PORT`.
    Dns {
        /// The name, such as that of a headless service.
        name: String,
        /// The port of all of them.
        port: u16,
    },
}

impl Backend {
    /// A server at this address, without TLS.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let place = Place::Address { host: address.ip().to_string(), port: address.port() };
        Self { place, tls: false }
    }
}

impl FromStr for Backend {
    type Err = String;

    /// The scheme may be left out: it is `http://` then.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = socket(text)? {
            return Ok(Self { place: Place::Unix(path), tls: false });
        }
        for (scheme, tls) in [("dns:///", false), ("dns:", false), ("dns+tls:///", true)] {
            if let Some(name) = text.strip_prefix(scheme) {
                let (name, port) = host_and_port(name)?;
                return Ok(Self { place: Place::Dns { name, port }, tls });
            }
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err("backends are http://, https://, unix: or dns:///".to_owned()),
        };
        let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
        Ok(Self { place: Place::Address { host, port }, tls })
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let uri: Uri = format!("http://{text}").parse().map_err(|error| format!("{error}"))?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err("a backend has no path".to_owned());
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().ok_or("the port is missing; TensorFlow Serving's gRPC port is 8500")?;
    Ok((host, port))
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.place {
            Place::Address { host, port } if host.contains(':') => {
                write!(formatter, "{scheme}://[{host}]:{port}")
            }
            Place::Address { host, port } => write!(formatter, "{scheme}://{host}:{port}"),
            Place::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Place::Dns { name, port } => {
                write!(formatter, "{}:///{name}:{port}", if self.tls { "dns+tls" } else { "dns" })
            }
        }
    }
}

/// The addresses that a name has now.
type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

type Lookup = dyn Fn(&str, u16) -> Addresses + Send + Sync;

/// How names are looked up.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

impl Resolver {
    /// A resolver of one's own, as tests need it.
    pub fn new<F>(lookup: impl Fn(&str, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |name, port| Box::pin(lookup(name, port))))
    }

    /// All addresses of a name.
    ///
    /// # Errors
    ///
    /// What the resolver says.
    pub async fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (self.0)(name, port).await
    }
}

/// The resolver of the system.
impl Default for Resolver {
    fn default() -> Self {
        static SYSTEM: LazyLock<Resolver> = LazyLock::new(|| {
            Resolver::new(|name, port| {
                let name = name.to_owned();
                async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) }
            })
        });
        SYSTEM.clone()
    }
}

/// Two are the same if one is a clone of the other.
impl PartialEq for Resolver {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Resolver").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_written_in_many_ways() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Backend>().unwrap().to_string(), expected, "{text}");
        };
        check("serving:8500", "http://serving:8500");
        check("http://[::1]:8500/", "http://[::1]:8500");
        check("https://serving:8500", "https://serving:8500");
        check("unix:/run/serving.sock", "unix:/run/serving.sock");
        check("unix:///run/serving.sock", "unix:/run/serving.sock");
        check("dns:///serving.models:8500", "dns:///serving.models:8500");
        check("dns+tls:///serving:8500", "dns+tls:///serving:8500");
        for bad in
            ["", "http://serving", "ftp://serving:21", "http://a b:1", "http://a:1/b", "unix:", "dns:///a"]
        {
            assert!(bad.parse::<Backend>().is_err(), "{bad}");
        }
    }
}
