//! The way to the machine: which addresses its name has, and which of them take connections.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::report::{Fault, Found, Not};
use super::target::{Kind, Target, socket_fault};
use crate::cli::dial::To;

/// The most addresses that are tried: a name may have hundreds.
const MOST_ADDRESSES: usize = 16;

/// The addresses of the name.
pub(super) async fn look_up(host: &str, port: u16, limit: Duration) -> Result<Found<Vec<SocketAddr>>, Not> {
    let (sender, receiver) = oneshot::channel();
    let owned = host.to_owned();
    // The resolver of the system may take longer than anybody waits, and a thread of the runtime would hold up
    // the end of the program.
    let spawned = std::thread::Builder::new().spawn(move || {
        let addresses = (owned.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Whoever has waited may be gone.
        drop(sender.send(addresses));
    });
    let result: io::Result<Vec<SocketAddr>> = match spawned {
        Err(error) => Err(error),
        Ok(_) => match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io::Error::other("the resolver has ended")),
            Err(_) => {
                return Err(Not::Failed(Fault::new(
                    format!("no answer about {host} within {}", humantime::format_duration(limit)),
                    "The name servers of this machine cannot be reached, or are slow.",
                    "Look at /etc/resolv.conf, and try the address of the server in place of its name.",
                )));
            }
        },
    };
    match result {
        Ok(mut addresses) if !addresses.is_empty() => {
            let count = addresses.len();
            addresses.truncate(MOST_ADDRESSES);
            let listed = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>();
            let more = if count > addresses.len() {
                format!(" and {} more", count - addresses.len())
            } else {
                String::new()
            };
            Ok(Found::new(addresses, format!("{host} is {}{more}", listed.join(", "))))
        }
        result => {
            let reason =
                result.err().map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
            Err(Not::Failed(Fault::new(
                format!("{host}: {reason}"),
                "The name is misspelt, or not known where this runs.",
                "Check the name. Kubernetes has NAME.NAMESPACE.svc inside of the cluster only; Compose has the \
                 names of services inside of their network only.",
            )))
        }
    }
}

/// The addresses without a question, where the host is one.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
}

/// An address that takes connections.
pub(super) async fn connect(
    addresses: Vec<SocketAddr>,
    target: &Target,
    limit: Duration,
) -> Result<Found<To>, Not> {
    let mut attempts = JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        attempts.spawn(async move {
            let start = Instant::now();
            let result = match tokio::time::timeout(limit, TcpStream::connect(address)).await {
                Ok(result) => result.map(|_| start.elapsed()),
                Err(_) => Err(ErrorKind::TimedOut.into()),
            };
            (index, result)
        });
    }
    let mut results: Vec<Option<io::Result<Duration>>> = addresses.iter().map(|_| None).collect();
    while let Some(attempt) = attempts.join_next().await {
        if let Ok((index, result)) = attempt
            && let Some(place) = results.get_mut(index)
        {
            *place = Some(result);
        }
    }
    let (mut good, mut told, mut bad) = (None, Vec::new(), None);
    for (address, result) in addresses.iter().zip(results.into_iter().flatten()) {
        match result {
            Ok(time) => {
                good = good.or(Some(*address));
                told.push(format!("{address} connects in {:.1} ms", time.as_secs_f64() * 1e3));
            }
            Err(error) => {
                told.push(format!("{address} {}", outcome(&error, limit)));
                bad = bad.or(Some(error));
            }
        }
    }
    let detail = told.join("; ");
    match (good, bad) {
        (Some(address), bad) => {
            let advice = bad.map(|_| {
                "Not all addresses answer: clients that try them one by one lose time, or fail now and then."
                    .to_owned()
            });
            Ok(Found::new(To::Socket(address), detail).advise(advice))
        }
        (None, bad) => {
            let kind = bad.map_or(ErrorKind::Other, |error| error.kind());
            let (cause, advice) = explain(kind, target);
            Err(Not::Failed(Fault::new(detail, cause, advice)))
        }
    }
}

/// The socket, if it takes connections.
pub(super) async fn connect_socket(to: &To, limit: Duration) -> Result<Found<To>, Not> {
    let To::Unix(path) = to else { return Ok(Found::new(to.clone(), "")) };
    match tokio::time::timeout(limit, UnixStream::connect(path)).await {
        Ok(Ok(_)) => Ok(Found::new(to.clone(), format!("{} connects", path.display()))),
        Ok(Err(error)) => Err(socket_fault(path, &error).into()),
        Err(_) => Err(socket_fault(path, &ErrorKind::TimedOut.into()).into()),
    }
}

fn outcome(error: &io::Error, limit: Duration) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refuses the connection".to_owned(),
        ErrorKind::TimedOut => format!("does not answer within {}", humantime::format_duration(limit)),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "cannot be reached".to_owned(),
        _ => format!("fails: {error}"),
    }
}

/// The likely cause of a connection that cannot be made, and what to try.
fn explain(kind: ErrorKind, target: &Target) -> (String, String) {
    let port = target.port().unwrap_or_default();
    match kind {
        ErrorKind::ConnectionRefused => {
            let server = match target.kind {
                Kind::Bridge => format!("`tfbridge serve --listen 0.0.0.0:{port}`"),
                Kind::Backend => format!("`tensorflow_model_server --port={port}`"),
            };
            (
                format!("The machine answers, but nobody listens on port {port}."),
                format!(
                    "Is the server running, as with {server}, and is the port published? Inside of a container one \
                     that listens on 127.0.0.1 cannot be reached from outside."
                ),
            )
        }
        ErrorKind::TimedOut => (
            "A firewall, a security group or a network policy drops the packets, or no machine has the address."
                .to_owned(),
            "Check the address, and who may connect to the port from here.".to_owned(),
        ),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => (
            "This machine has no way to that network.".to_owned(),
            "Check the address, and the VPN or the routes to it.".to_owned(),
        ),
        _ => ("The system refuses to connect.".to_owned(), "Check the address and the port.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_no_names() {
        assert_eq!(literal("127.0.0.1", 1), Some("127.0.0.1:1".parse().unwrap()));
        assert_eq!(literal("::1", 1), Some("[::1]:1".parse().unwrap()));
        assert_eq!(literal("localhost", 1), None);
    }

    #[tokio::test]
    async fn names_that_nobody_has_are_told() {
        let limit = Duration::from_secs(5);
        let Err(Not::Failed(fault)) = look_up("no name", 1, limit).await else { panic!("there is one") };
        assert!(fault.detail.starts_with("no name: "), "{fault:?}");
        let found = look_up("localhost", 7, limit).await.unwrap();
        assert!(found.value.iter().all(|address| address.port() == 7), "{found:?}");
    }
}
