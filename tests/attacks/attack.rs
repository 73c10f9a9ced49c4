//! What an attack is: a name, what one attacker does over and over, and the answers that are right.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{http1, http2};

/// What one connection of an attacker has seen, such as `400 closed`: the statuses and resets in
/// the order in which they came, then whether the connection was closed or is still open.
pub type Answer = String;

type Story = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One round of an attacker.
#[derive(Clone, Copy)]
enum Run {
    /// A connection that gets these bytes.
    Http1(fn() -> Vec<u8>),
    /// A connection that gets these bytes behind the preface of HTTP/2.
    Http2(fn() -> Vec<u8>),
    /// Anything else.
    Story(fn(SocketAddr) -> Story),
}

/// A payload up to this size costs a bridge so little that a few such attacks can share their time.
const LIGHT: usize = 16 << 10;

/// A row of the table.
#[derive(Clone)]
pub struct Attack {
    pub area: &'static str,
    pub name: &'static str,
    /// Every answer must be one of these.
    pub expect: &'static [&'static str],
    /// The flags without which a bridge cannot be expected to withstand it.
    pub needs: &'static [&'static str],
    /// How many attackers there are at once.
    pub attackers: usize,
    /// Whether it waits most of the time, so that it runs beside the others of its kind.
    pub is_slow: bool,
    run: Run,
    /// What each attacker sends, once it has been made.
    payload: Arc<[u8]>,
}

/// The answers to an attack and how often each was given.
#[derive(Debug, Clone, Default)]
pub struct Answers(pub BTreeMap<Answer, usize>);

impl Attack {
    fn new(area: &'static str, name: &'static str, expect: &'static [&'static str], run: Run) -> Self {
        Self { area, name, expect, needs: &[], attackers: 4, is_slow: false, run, payload: Arc::default() }
    }

    /// An attack of bytes in place of a request of HTTP/1.
    pub fn http1(
        area: &'static str,
        name: &'static str,
        expect: &'static [&'static str],
        bytes: fn() -> Vec<u8>,
    ) -> Self {
        Self::new(area, name, expect, Run::Http1(bytes))
    }

    /// An attack of frames behind the preface of HTTP/2.
    pub fn http2(
        area: &'static str,
        name: &'static str,
        expect: &'static [&'static str],
        frames: fn() -> Vec<u8>,
    ) -> Self {
        Self::new(area, name, expect, Run::Http2(frames))
    }

    /// An attack that is told in full.
    pub fn story(
        area: &'static str,
        name: &'static str,
        expect: &'static [&'static str],
        story: fn(SocketAddr) -> Story,
    ) -> Self {
        Self::new(area, name, expect, Run::Story(story))
    }

    pub fn attackers(self, attackers: usize) -> Self {
        Self { attackers, ..self }
    }

    pub fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    pub fn slow(self) -> Self {
        Self { is_slow: true, ..self }
    }

    /// Makes what the attackers send, before any of them begins.
    pub fn prepare(&mut self) {
        if let Run::Http1(bytes) | Run::Http2(bytes) = self.run {
            self.payload = bytes().into();
        }
    }

    /// Whether an attack that is prepared may run beside others.
    pub fn is_light(&self) -> bool {
        !matches!(self.run, Run::Story(_)) && self.payload.len() <= LIGHT
    }

    /// Attacks for at least this long: each attacker finishes its last round.
    pub async fn run(&self, bridge: SocketAddr, at_least: Duration) -> Answers {
        let end = Instant::now() + at_least;
        let mut attackers = tokio::task::JoinSet::new();
        for _ in 0..self.attackers {
            let (run, payload) = (self.run, Arc::clone(&self.payload));
            attackers.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    answers.push(match run {
                        Run::Http1(_) => http1::exchange(bridge, &payload).await,
                        Run::Http2(_) => http2::exchange(bridge, &payload).await,
                        Run::Story(story) => story(bridge).await,
                    });
                    if Instant::now() >= end {
                        return answers;
                    }
                }
            });
        }
        let mut answers = Answers::default();
        while let Some(seen) = attackers.join_next().await {
            for answer in seen.unwrap() {
                *answers.0.entry(answer).or_default() += 1;
            }
        }
        answers
    }

    /// The answers that are wrong.
    pub fn wrong<'a>(&self, answers: &'a Answers) -> Vec<&'a str> {
        let is_wrong = |answer: &&str| !self.expect.contains(answer);
        answers.0.keys().map(String::as_str).filter(is_wrong).collect()
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (answer, count)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(formatter, "{comma}{count}x {answer}")?;
        }
        Ok(())
    }
}
