//! What is learnt of a request while it is answered: how long its parts take, how large it is, and which
//! model it is for. Metrics, logs and traces are made from it when the answer is there.
//!
//! It is written by those who work on the request, in any order and from any thread, and costs them some
//! nanoseconds. Nothing here decides anything.

use std::future::Future;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A part of a request's time. Parts may overlap: a large body is decoded while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The body arrives.
    Read,
    /// The body becomes tensors, signatures being looked up included.
    Decode,
    /// The request waits for its turn.
    Queue,
    /// The backend works on it, all attempts together.
    Backend,
    /// The reply becomes a body.
    Encode,
}

impl Part {
    /// All of them, in the order in which they begin.
    pub const ALL: [Self; 5] = [Self::Read, Self::Decode, Self::Queue, Self::Backend, Self::Encode];

    /// Its name in metrics, logs and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Backend => "backend",
            Self::Encode => "encode",
        }
    }
}

/// Numbers of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// Of the request's body, as it arrived.
    Body,
    /// Of the request's message to the backend.
    Request,
    /// Of the backend's message.
    Reply,
}

/// What a client or a request may not exceed, and has tried to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Of connections at once.
    Connections,
    /// Of those from one address.
    ConnectionsPerAddress,
    /// Of a request's body.
    BodySize,
    /// Of requests that are worked on, and wait for it.
    InFlight,
    /// Of what all requests hold together.
    Memory,
    /// Of the time for opening a connection and for the head of a request.
    HeaderTimeout,
    /// Of the time for a piece of a request's body.
    BodyTimeout,
    /// Of the time for a piece of a response.
    WriteTimeout,
    /// Of the time without a request.
    IdleTimeout,
    /// Of a backend's reply, and of the response made from it.
    ResponseSize,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::BodySize,
        Self::InFlight,
        Self::Memory,
        Self::HeaderTimeout,
        Self::BodyTimeout,
        Self::WriteTimeout,
        Self::IdleTimeout,
        Self::ResponseSize,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::BodySize => "body_size",
            Self::InFlight => "in_flight",
            Self::Memory => "memory",
            Self::HeaderTimeout => "header_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::ResponseSize => "response_size",
        }
    }
}

/// Which model a request was for. Names are those that a backend has confirmed: what clients make up is
/// not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The model.
    pub model: String,
    /// The signature.
    pub signature: String,
    /// The version that answered.
    pub version: Option<i64>,
}

/// What is known of one request.
#[derive(Debug)]
pub struct Record {
    start: Instant,
    /// When each part began first, in nanoseconds from the start, and how long it took in all; 0 where there
    /// was none.
    began: [AtomicU64; Part::ALL.len()],
    took: [AtomicU64; Part::ALL.len()],
    sizes: [AtomicU64; 3],
    /// A bit for each limit that it has met.
    limits: AtomicU16,
    subject: Mutex<Option<Subject>>,
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    /// A request that comes in now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            began: Default::default(),
            took: Default::default(),
            sizes: Default::default(),
            limits: AtomicU16::new(0),
            subject: Mutex::default(),
        }
    }

    /// When it came in.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Measures work as a part of the request; also if it is given up.
    pub async fn measure<T>(&self, part: Part, work: impl Future<Output = T>) -> T {
        let _timer = self.timer(part);
        work.await
    }

    /// Measures a part until the timer is dropped.
    #[must_use]
    pub fn timer(&self, part: Part) -> Timer<'_> {
        let now = Instant::now();
        let began = nanoseconds(now.duration_since(self.start)).max(1);
        // Only the first time counts.
        let _ = self.began[part as usize].compare_exchange(0, began, Ordering::Relaxed, Ordering::Relaxed);
        Timer { record: self, part, start: now }
    }

    /// How long a part took; `None` if there was none.
    #[must_use]
    pub fn took(&self, part: Part) -> Option<Duration> {
        self.began(part)?;
        Some(Duration::from_nanos(self.took[part as usize].load(Ordering::Relaxed)))
    }

    /// How long after the start a part began; `None` if there was none.
    #[must_use]
    pub fn began(&self, part: Part) -> Option<Duration> {
        match self.began[part as usize].load(Ordering::Relaxed) {
            0 => None,
            began => Some(Duration::from_nanos(began)),
        }
    }

    /// Notes a number of bytes.
    pub fn note(&self, size: Size, bytes: usize) {
        self.sizes[size as usize].store(bytes as u64, Ordering::Relaxed);
    }

    /// Adds to a number of bytes.
    pub fn add(&self, size: Size, bytes: usize) {
        self.sizes[size as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds what was learnt of a part of the request that had a record of its own.
    pub fn absorb(&self, part: &Self) {
        let ahead = nanoseconds(part.start.saturating_duration_since(self.start));
        for ((began, took), (part_began, part_took)) in
            self.began.iter().zip(&self.took).zip(part.began.iter().zip(&part.took))
        {
            let first = part_began.load(Ordering::Relaxed);
            if first > 0 {
                let _ = began.compare_exchange(0, ahead + first, Ordering::Relaxed, Ordering::Relaxed);
                took.fetch_add(part_took.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        for (size, part) in self.sizes.iter().zip(&part.sizes) {
            size.fetch_add(part.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.limits.fetch_or(part.limits.load(Ordering::Relaxed), Ordering::Relaxed);
        if let Some(Subject { model, signature, version }) = part.subject() {
            self.note_subject(&model, &signature, version);
        }
    }

    /// A number of bytes; 0 if nobody has noted it.
    #[must_use]
    pub fn size(&self, size: Size) -> u64 {
        self.sizes[size as usize].load(Ordering::Relaxed)
    }

    /// Notes that the request meets a limit.
    pub fn hit(&self, limit: Limit) {
        self.limits.fetch_or(1 << limit as u16, Ordering::Relaxed);
    }

    /// Whether it has met one.
    #[must_use]
    pub fn has_hit(&self, limit: Limit) -> bool {
        self.limits.load(Ordering::Relaxed) & (1 << limit as u16) != 0
    }

    /// Notes which model the request is for, once a backend has confirmed it.
    pub fn note_subject(&self, model: &str, signature: &str, version: Option<i64>) {
        let mut subject = self.subject.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = subject.get_or_insert_default();
        // What is the same takes no new memory.
        model.clone_into(&mut subject.model);
        signature.clone_into(&mut subject.signature);
        subject.version = version;
    }

    /// Calls `look` with the model that the request was for, which is not copied for that.
    pub fn with_subject<T>(&self, look: impl FnOnce(Option<&Subject>) -> T) -> T {
        look(self.subject.lock().unwrap_or_else(PoisonError::into_inner).as_ref())
    }

    /// Which model the request was for, if a backend has confirmed that there is such a model.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        self.subject.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Measures a part for as long as it is there.
#[derive(Debug)]
pub struct Timer<'a> {
    record: &'a Record,
    part: Part,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.record.took[self.part as usize].fetch_add(nanoseconds(self.start.elapsed()), Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_add_up_also_if_they_are_given_up() {
        let record = Record::new();
        assert_eq!((record.took(Part::Backend), record.began(Part::Backend)), (None, None));
        for _ in 0..2 {
            let never = record.measure(Part::Backend, std::future::pending::<()>());
            assert!(tokio::time::timeout(Duration::from_millis(2), never).await.is_err());
        }
        let took = record.took(Part::Backend).unwrap();
        assert!(took >= Duration::from_millis(4), "{took:?}");
        assert!(record.began(Part::Backend).unwrap() + took <= record.start().elapsed());
        assert_eq!(record.took(Part::Read), None);
    }

    #[test]
    fn what_parts_learn_adds_up() {
        let (whole, one, other) = (Record::new(), Record::new(), Record::new());
        drop((one.timer(Part::Decode), other.timer(Part::Decode), other.timer(Part::Encode)));
        one.note(Size::Reply, 3);
        other.note(Size::Reply, 4);
        other.hit(Limit::InFlight);
        other.note_subject("m", "s", Some(1));
        whole.absorb(&one);
        whole.absorb(&other);
        assert_eq!((whole.size(Size::Reply), whole.has_hit(Limit::InFlight)), (7, true));
        assert_eq!(
            whole.took(Part::Decode),
            Some(one.took(Part::Decode).unwrap() + other.took(Part::Decode).unwrap())
        );
        assert_eq!(whole.took(Part::Encode), other.took(Part::Encode));
        assert_eq!((whole.took(Part::Backend), whole.subject()), (None, other.subject()));
    }

    #[test]
    fn the_last_subject_counts() {
        let record = Record::new();
        assert_eq!(record.subject(), None);
        record.note_subject("m", "s", None);
        record.note_subject("m", "t", Some(3));
        let expected = Subject { model: "m".to_owned(), signature: "t".to_owned(), version: Some(3) };
        assert_eq!(record.subject(), Some(expected));
        record.note(Size::Body, 12);
        assert_eq!([record.size(Size::Body), record.size(Size::Reply)], [12, 0]);
    }
}
