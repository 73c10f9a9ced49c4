//! One backend: its connections, and single attempts at calls over them.
//!
//! Whether there are further attempts is for others to decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::address::Address;
use super::call::Call;
use super::cancel::{Cancellations, Pending};
use super::connection::{Connector, Sender, Slot};
use super::failure::{Failure, Kind};
use super::health::Health;
use super::load::Load;
use super::memory::Part;
use super::message::{MAX_SIZE, Message, MessageBody, Receive, Received};
use super::offload::offload;
use super::tls::Tls;
use crate::config::{Backend, Place, UpstreamConfig};
use crate::error::{Error, Result};
use crate::record::{Limit, Size};

/// The method of the gRPC health service.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// The most bytes of its answer.
const HEALTH_REPLY: usize = 64 << 10;

/// Requests from this size on go over connections of their own, so that small ones do not wait behind
/// the megabytes that are under way on a connection already.
const LARGE: usize = 256 << 10;

/// A backend.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// How busy and how fast it is.
    pub(super) load: Load,
    /// Whether it gets calls.
    pub(super) health: Health,
    connector: Arc<Connector>,
    scheme: Scheme,
    authority: Authority,
    slots: Box<[Slot]>,
    large_slots: Box<[Slot]>,
    cancellations: Arc<Cancellations>,
    next: AtomicUsize,
}

/// What a call was answered with.
#[derive(Debug)]
pub(super) struct Answer<M> {
    pub(super) message: M,
    /// What came with it: headers before it and behind it.
    pub(super) metadata: [HeaderMap; 2],
}

impl Endpoint {
    /// A backend that nobody has connected to yet. `tls` is for those that are called over it.
    pub(super) fn new(address: Address, backend: &Backend, config: &UpstreamConfig, tls: &Arc<Tls>) -> Self {
        // What the server is called, whichever of its addresses this is.
        let host = match &backend.place {
            Place::Address { host, .. } => host.as_str(),
            Place::Dns { name, .. } => name.as_str(),
            Place::Unix(_) => "localhost",
        };
        let authority = match &backend.place {
            Place::Unix(_) => None,
            Place::Dns { name, port } => format!("{name}:{port}").parse().ok(),
            Place::Address { .. } => address.to_string().parse().ok(),
        };
        let slots = || (0..config.connections.max(1)).map(|_| Slot::new()).collect();
        Self {
            load: Load::default(),
            health: Health::default(),
            connector: Arc::new(Connector {
                address,
                timeout: config.connect_timeout,
                tls: backend.tls.then(|| (Arc::clone(tls), host.to_owned())),
            }),
            scheme: if backend.tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority.unwrap_or_else(|| Authority::from_static("localhost")),
            slots: slots(),
            large_slots: slots(),
            cancellations: Arc::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        &self.connector.address
    }

    /// Finds out whether it is well: by its own word where it has the gRPC health service, else by
    /// its answering at all.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub(super) async fn check(&self) -> Result<()> {
        let request = Message::new(&HealthCheckRequest { service: String::new() })?;
        let answer = async {
            let sender = self.sender(&request).await?;
            self.exchange::<HealthCheckResponse>(sender, HEALTH_CHECK, request, HeaderMap::new(), None).await
        };
        let answer = tokio::time::timeout(self.connector.timeout, answer).await;
        match answer.map_err(|_| Error::unavailable("The backend does not answer"))? {
            Ok(answer) if answer.message.status() == ServingStatus::Serving => Ok(()),
            Ok(answer) => {
                let status = answer.message.status().as_str_name();
                Err(Error::unavailable(format!("The backend says that it is {status}")))
            }
            Err(failure) if failure.kind == Kind::Answer => Ok(()),
            Err(failure) => Err(failure.error),
        }
    }

    /// Makes one attempt at a call.
    ///
    /// Dropping the future cancels the call on the backend.
    pub(super) async fn call<M: Receive>(
        &self,
        method: &'static str,
        message: Message,
        call: &Call,
    ) -> Result<Answer<M>, Failure> {
        let mut in_flight = self.load.begin();
        let sender = self.sender(&message).await?;
        // Making a connection says nothing of how fast answers are.
        in_flight.sent();
        let answer = self.exchange(sender, method, message, call.headers(), Some(call)).await;
        if answer.as_ref().err().is_none_or(|failure| failure.kind == Kind::Answer) {
            in_flight.answered();
        }
        answer
    }

    async fn exchange<M: Receive>(
        &self,
        mut sender: Sender,
        method: &'static str,
        message: Message,
        headers: HeaderMap,
        call: Option<&Call>,
    ) -> Result<Answer<M>, Failure> {
        let limit = call.map_or(HEALTH_REPLY, |call| call.max_response_size.min(MAX_SIZE));
        let answer = sender.send_request(self.request(method, message, headers));
        let mut pending = Pending::new(answer, &self.cancellations);
        let Some(head) = pending.head().await.map_err(Failure::transport)? else {
            return Err(Failure::invalid_reply("it has answered already"));
        };
        if let Some(failure) = Failure::in_headers(&head.headers) {
            return Err(failure);
        }
        if head.status != StatusCode::OK {
            return Err(Failure::http(head.status));
        }
        let mut received = Received::default();
        // What another attempt receives is not held twice.
        let mut part = call.map(|call| Part::of(&call.memory));
        let mut trailers = None;
        while let Some(frame) = pending.frame().await {
            match frame.map_err(Failure::transport)?.into_data() {
                Ok(data) => {
                    if let Some(part) = &mut part {
                        part.grow_to(received.room_with(&data)).map_err(Failure::answer)?;
                    }
                    received.push(data, limit).map_err(|what| {
                        if let Some(call) = call.filter(|_| received.is_beyond(limit)) {
                            call.record.hit(Limit::ResponseSize);
                        }
                        Failure::invalid_reply(&what)
                    })?;
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let Some(trailers) = trailers else {
            return Err(Failure::invalid_reply("its reply ends without a status"));
        };
        if let Some(failure) = Failure::in_headers(&trailers) {
            return Err(failure);
        }
        let message = match call {
            Some(call) => {
                let size = received.len();
                call.record.note(Size::Reply, size);
                let memory = Arc::clone(&call.memory);
                let decode = move || received.decode_within(|room| memory.hold(room));
                offload(size, &call.memory, decode).await.map_err(Failure::answer)?
            }
            None => received.decode(),
        };
        let message = message.map_err(|what| Failure::invalid_reply(&what))?;
        if let Some(part) = part {
            part.keep();
        }
        Ok(Answer { message, metadata: [head.headers, trailers] })
    }

    /// The connections take turns: one HTTP/2 connection alone would cap the throughput.
    async fn sender(&self, message: &Message) -> Result<Sender, Failure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let slots = if message.len() < LARGE { &self.slots } else { &self.large_slots };
        let slot = &slots[turn % slots.len()];
        slot.sender(&self.connector).await.map_err(Failure::transport)
    }

    fn request(&self, method: &'static str, message: Message, headers: HeaderMap) -> Request<MessageBody> {
        const AGENT: HeaderValue = HeaderValue::from_static(concat!("tfbridge/", env!("CARGO_PKG_VERSION")));
        let mut request = Request::new(message.into());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(PathAndQuery::from_static(method));
        // All three parts are there, which is all that can be wrong.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        let map = request.headers_mut();
        *map = headers;
        map.insert(TE, HeaderValue::from_static("trailers"));
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        map.insert(USER_AGENT, AGENT);
        request
    }
}
