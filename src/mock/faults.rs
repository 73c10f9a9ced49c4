//! What may go wrong on purpose: calls that take long, and calls that fail.
//!
//! The calls of a model are numbered as they come, and what happens to each hangs on its number and the
//! seed. No thread waits during a delay.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use super::answer::mix;
use crate::error::code_name;

/// How long a call takes before it is answered: somewhere between the two, each as often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    least: Duration,
    most: Duration,
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let duration = |text: &str| {
            humantime::parse_duration(text)
                .map_err(|error| format!("{error}; expected is a time such as 20ms, or two as in 10ms..50ms"))
        };
        let (least, most) = (duration(least)?, duration(most)?);
        if least > most {
            return Err("the first time is the longer one".to_owned());
        }
        Ok(Self { least, most })
    }
}

/// The part of calls that fail, from none (0) to all (1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Probability(f64);

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<f64>().map_err(|_| "it is no number".to_owned()).and_then(Self::try_from)
    }
}

impl TryFrom<f64> for Probability {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) {
            return Ok(Self(value));
        }
        Err(format!("{value} is not between 0, for no calls, and 1, for all of them"))
    }
}

/// A code of gRPC that stands for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailCode(Code);

impl Default for FailCode {
    fn default() -> Self {
        Self(Code::Unavailable)
    }
}

impl FromStr for FailCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Without OK, which is none.
        let mut codes = (1..=16).map(Code::from_i32);
        let found = codes.find(|code| code_name(*code).eq_ignore_ascii_case(text));
        found.map(Self).ok_or_else(|| "it is no code of gRPC such as UNAVAILABLE".to_owned())
    }
}

/// What goes wrong with the calls of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// How long they take longer.
    pub delay: Option<Delay>,
    /// How many of them fail.
    pub fail: Probability,
    /// With which code they fail.
    pub fail_code: FailCode,
}

/// The calls so far, and what comes of the next one.
#[derive(Debug, Default)]
pub(super) struct Injector {
    faults: Faults,
    seed: u64,
    calls: AtomicU64,
}

/// When the head of a call came in, from where the transport counts its time, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival(Instant);

impl Arrival {
    /// Notes it on a call that has just come in.
    #[expect(clippy::unnecessary_wraps, reason = "an interceptor may fail")]
    pub(super) fn note(mut request: Request<()>) -> Result<Request<()>, Status> {
        request.extensions_mut().insert(Self(Instant::now()));
        Ok(request)
    }

    /// That of a call, or now where nobody has noted it.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or_else(|| Self(Instant::now()))
    }
}

/// A call that would go on beyond its deadline ends this much before it, or else the transport would end it
/// with a status of its own.
const MARGIN: Duration = Duration::from_millis(5);

impl Injector {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { faults, seed, calls: AtomicU64::new(0) }
    }

    /// Waits, and then fails or not. It never goes on beyond the time that a client allows.
    pub(super) async fn before_call(&self, metadata: &MetadataMap, arrival: Arrival) -> Result<(), Status> {
        if self.faults == Faults::default() {
            return Ok(());
        }
        let (delay, fails) = self.next();
        let allowed = timeout(metadata).map(|timeout| timeout.saturating_sub(MARGIN.min(timeout / 4)));
        match allowed {
            Some(allowed) if allowed < delay => {
                // A large message may have taken some of it to arrive, and a busy machine.
                tokio::time::sleep_until(arrival.0 + allowed).await;
                return Err(Status::deadline_exceeded("Deadline Exceeded"));
            }
            _ if !delay.is_zero() => tokio::time::sleep(delay).await,
            _ => {}
        }
        if fails {
            let FailCode(code) = self.faults.fail_code;
            return Err(Status::new(code, "The mock was told to fail this call"));
        }
        Ok(())
    }

    /// The delay of the next call, and whether it fails.
    fn next(&self) -> (Duration, bool) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let word = mix(self.seed ^ mix(number));
        let delay = self.faults.delay.map_or(Duration::ZERO, |Delay { least, most }| {
            least + most.saturating_sub(least).mul_f64(unit(word))
        });
        let Probability(probability) = self.faults.fail;
        (delay, unit(mix(word)) < probability)
    }
}

/// A number of [0, 1).
#[expect(clippy::cast_precision_loss, reason = "the 53 bits that a double is exact for are kept")]
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// The time that the client allows, as its header tells.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Arrival {
        Arrival(Instant::now())
    }

    fn faults(delay: Option<&str>, fail: f64) -> Faults {
        let delay = delay.map(|text| text.parse().unwrap());
        Faults { delay, fail: fail.try_into().unwrap(), fail_code: "ABORTED".parse().unwrap() }
    }

    #[test]
    fn flags_are_read_or_refused() {
        let millis = Duration::from_millis;
        assert_eq!("20ms".parse(), Ok(Delay { least: millis(20), most: millis(20) }));
        assert_eq!("10ms..1s".parse(), Ok(Delay { least: millis(10), most: millis(1000) }));
        for text in ["", "20", "1s..10ms", "1s..", "-1s"] {
            assert!(text.parse::<Delay>().is_err(), "{text}");
        }
        assert_eq!("unavailable".parse(), Ok(FailCode(Code::Unavailable)));
        assert_eq!("RESOURCE_EXHAUSTED".parse(), Ok(FailCode(Code::ResourceExhausted)));
        for text in ["OK", "14", ""] {
            assert!(text.parse::<FailCode>().is_err(), "{text}");
        }
        assert_eq!("0.25".parse(), Ok(Probability(0.25)));
        for text in ["1.5", "-0.1", "NaN", "half"] {
            assert!(text.parse::<Probability>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_seed_fails_the_same_calls_every_time() {
        let run = |seed, fail| {
            let injector = Injector::new(faults(None, fail), seed);
            (0..1000).map(|_| injector.next().1).collect::<Vec<_>>()
        };
        assert_eq!(run(1, 0.1), run(1, 0.1));
        assert_ne!(run(1, 0.1), run(2, 0.1));
        let failed = run(1, 0.1).into_iter().filter(|fails| *fails).count();
        assert!((60..140).contains(&failed), "{failed}");
        assert!(run(1, 0.0).iter().all(|fails| !fails));
        assert!(run(1, 1.0).iter().all(|fails| *fails));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_ends_with_the_time_that_the_client_allows() {
        let injector = Injector::new(faults(Some("10ms..50ms"), 0.0), 1);
        let mut metadata = MetadataMap::new();
        let mut delays = Vec::new();
        for _ in 0..100 {
            let start = Instant::now();
            injector.before_call(&metadata, now()).await.unwrap();
            delays.push(start.elapsed().as_millis());
        }
        assert!(delays.iter().all(|delay| (10..=51).contains(delay)), "{delays:?}");
        assert!(delays.iter().min() < delays.iter().max());

        let injector = Injector::new(faults(Some("1h"), 0.0), 1);
        for (header, most) in [("100m", 100), ("2S", 2000), ("1m", 1), ("300000u", 300)] {
            metadata.insert("grpc-timeout", header.parse().unwrap());
            let start = Instant::now();
            let status = injector.before_call(&metadata, now()).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert!(start.elapsed().as_millis() <= most, "{header}");
        }
        // What it took until the call was read counts.
        metadata.insert("grpc-timeout", "100m".parse().unwrap());
        let (start, arrival) = (Instant::now(), now());
        tokio::time::sleep(Duration::from_millis(60)).await;
        injector.before_call(&metadata, arrival).await.unwrap_err();
        assert!(start.elapsed().as_millis() < 100, "{:?}", start.elapsed());
        for header in ["", "m", "1", "123456789S", "1é"] {
            if let Ok(value) = header.parse() {
                metadata.insert("grpc-timeout", value);
                assert_eq!(timeout(&metadata), None, "{header}");
            }
        }
    }

    #[tokio::test]
    async fn failures_have_the_code_that_was_asked_for() {
        let injector = Injector::new(faults(None, 1.0), 1);
        let status = injector.before_call(&MetadataMap::new(), now()).await.unwrap_err();
        assert_eq!(status.code(), Code::Aborted);
        assert!(Injector::default().before_call(&MetadataMap::new(), now()).await.is_ok());
    }
}
