//! What is counted and measured of requests that are over.
//!
//! Every thread counts for itself, and nobody waits for another one but to read it all: counters that threads
//! share cost more than everything else here, since their memory goes back and forth between the cores.
//!
//! Labels are verbs and status codes, which are closed sets, and models, versions and signatures that a
//! backend has confirmed. Of these there are a number at most; whatever comes then is counted as "other".

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Answer;
use super::tally::Tally;
use crate::record::{Part, Record, Size, Subject};

/// What requests may ask for; the last one is for those that ask for nothing that there is.
const VERBS: [&str; 21] = [
    "predict",
    "classify",
    "regress",
    "multi_inference",
    "models",
    "openapi",
    "status",
    "metadata",
    "infer",
    "model_metadata",
    "model_ready",
    "server_metadata",
    "server_live",
    "server_ready",
    "metrics",
    "preflight",
    "ping",
    "invocations",
    "route",
    "docs",
    "none",
];

/// The status codes that are told apart. Another one counts as the first of its hundred.
const CODES: [u16; 21] =
    [200, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 429, 431, 499, 500, 501, 502, 503, 504];

/// The parts of a request in the order of [`Part::ALL`], and the one that follows them.
const PARTS: [&str; 6] = ["read", "decode", "queue", "backend", "encode", "write"];

/// The sizes that are measured, with what they are.
const SIZES: [(&str, &str); 4] = [
    ("tfbridge_request_body", "Bodies of requests, as they arrive"),
    ("tfbridge_response_body", "Bodies of responses, as they leave"),
    ("tfbridge_request_message", "Messages to backends"),
    ("tfbridge_reply_message", "Messages from backends"),
];

/// How many label sets there are at most, those of "other" and of no model not included.
const MOST: usize = 1000;

/// The model of those that are too many.
const OTHER: &str = "other";

/// How many threads count for themselves; beyond that some share a place.
const SHARDS: usize = 16;

/// The place of a verb in [`VERBS`].
fn verb_index(verb: &str) -> usize {
    VERBS.iter().position(|known| *known == verb).unwrap_or(VERBS.len() - 1)
}

fn code_index(code: u16) -> usize {
    let find = |code| CODES.binary_search(&code);
    find(code).or_else(|_| find(code / 100 * 100)).unwrap_or(0)
}

/// The metrics of all requests. Clones are for the same ones.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shards: [Shard; SHARDS],
    /// The label sets that are in use, by any thread.
    label_sets: Mutex<HashSet<(Subject, Kind)>>,
}

/// The place of a thread, apart from those of others.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Counts>);

/// A verb and a status code, by their places.
type Kind = (usize, usize);

#[derive(Debug)]
struct Counts {
    /// Few kinds for each model; the model that has no name stands for none.
    requests: HashMap<Subject, Vec<(Kind, u64)>>,
    seconds: [Tally; VERBS.len()],
    parts: [Tally; PARTS.len()],
    sizes: [Tally; SIZES.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: HashMap::new(),
            seconds: [Tally::SECONDS; VERBS.len()],
            parts: [Tally::SECONDS; PARTS.len()],
            sizes: [Tally::BYTES; SIZES.len()],
        }
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard of this thread.
fn shard_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    INDEX.with(|index| *index)
}

impl Requests {
    /// Metrics that are part of the registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let shared = Shared { shards: Default::default(), label_sets: Mutex::default() };
        let requests = Self { shared: Arc::new(shared) };
        registry.register_collector(Box::new(requests.clone()));
        requests
    }

    /// Counts a request that is over.
    pub(super) fn count(&self, answer: &Answer, record: &Record) {
        let kind = (verb_index(answer.verb), code_index(answer.code));
        let mut counts = self.shared.shards[shard_index()].lock();
        record.with_subject(|subject| match subject {
            Some(subject) => self.count_subject(&mut counts.requests, subject, kind),
            None => increment(&mut counts.requests, &Subject::default(), kind),
        });
        counts.seconds[kind.0].observe(answer.total.as_secs_f64());
        let parts = Part::ALL.map(|part| record.took(part));
        for (tally, took) in counts.parts.iter_mut().zip(parts.into_iter().chain([answer.write])) {
            if let Some(took) = took {
                tally.observe(took.as_secs_f64());
            }
        }
        let sizes = [
            record.size(Size::Body),
            answer.bytes as u64,
            record.size(Size::Request),
            record.size(Size::Reply),
        ];
        for (tally, size) in counts.sizes.iter_mut().zip(sizes).filter(|(_, size)| *size > 0) {
            #[expect(clippy::cast_precision_loss, reason = "sizes beyond 2^53 need not be exact")]
            tally.observe(size as f64);
        }
    }

    /// Counts a request for a model that there is.
    fn count_subject(
        &self,
        requests: &mut HashMap<Subject, Vec<(Kind, u64)>>,
        subject: &Subject,
        kind: Kind,
    ) {
        let known =
            requests.get_mut(subject).and_then(|kinds| kinds.iter_mut().find(|(other, _)| *other == kind));
        if let Some((_, count)) = known {
            *count += 1;
            return;
        }
        // New to this thread, but maybe not to others.
        let mut label_sets = self.shared.label_sets.lock().unwrap_or_else(PoisonError::into_inner);
        let label_set = (subject.clone(), kind);
        if label_sets.contains(&label_set) || (label_sets.len() < MOST && label_sets.insert(label_set)) {
            increment(requests, subject, kind);
        } else {
            increment(requests, &other(), kind);
        }
    }

    /// What all threads have counted.
    fn sum(&self) -> (BTreeMap<(Subject, Kind), u64>, Counts) {
        let mut requests = BTreeMap::new();
        let mut sum = Counts::default();
        for shard in &self.shared.shards {
            let counts = shard.lock();
            for (subject, kinds) in counts.requests.iter().collect::<BTreeMap<_, _>>() {
                for (kind, count) in kinds {
                    *requests.entry((subject.clone(), *kind)).or_default() += count;
                }
            }
            for (into, from) in [
                (&mut sum.seconds[..], &counts.seconds[..]),
                (&mut sum.parts, &counts.parts),
                (&mut sum.sizes, &counts.sizes),
            ] {
                into.iter_mut().zip(from).for_each(|(into, from)| into.add(from));
            }
        }
        (requests, sum)
    }
}

/// The model that stands for all that are too many. It has a version that no model has, since one may be named
/// like it.
fn other() -> Subject {
    Subject { model: OTHER.to_owned(), signature: String::new(), version: Some(i64::MIN) }
}

fn increment(requests: &mut HashMap<Subject, Vec<(Kind, u64)>>, subject: &Subject, kind: Kind) {
    let kinds = match requests.get_mut(subject) {
        Some(kinds) => kinds,
        None => requests.entry(subject.clone()).or_default(),
    };
    match kinds.iter_mut().find(|(other, _)| *other == kind) {
        Some((_, count)) => *count += 1,
        None => kinds.push((kind, 1)),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    model: String,
    version: String,
    signature: String,
    code: u16,
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (requests, counts) = self.sum();
        let help = "Requests that are over, by verb, model, version, signature and HTTP status";
        let mut metric = encoder.encode_descriptor("tfbridge_requests", help, None, MetricType::Counter)?;
        for ((subject, (verb, code)), count) in &requests {
            let version = subject.version.filter(|version| *version != i64::MIN);
            let labels = Labels {
                verb: VERBS[*verb],
                model: subject.model.clone(),
                version: version.map(|version| version.to_string()).unwrap_or_default(),
                signature: subject.signature.clone(),
                code: CODES[*code],
            };
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        for (name, help, label, values, tallies) in [
            (
                "tfbridge_request",
                "Time from a request's head to the last byte of its response",
                "verb",
                &VERBS[..],
                &counts.seconds[..],
            ),
            (
                "tfbridge_request_part",
                "Time of a request's parts, which may overlap",
                "part",
                &PARTS,
                &counts.parts,
            ),
        ] {
            let mut metric =
                encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
            for (value, tally) in values.iter().zip(tallies) {
                tally.encode(metric.encode_family(&[(label, *value)])?)?;
            }
        }
        for ((name, help), tally) in SIZES.iter().zip(&counts.sizes) {
            tally.encode(encoder.encode_descriptor(
                name,
                help,
                Some(&Unit::Bytes),
                MetricType::Histogram,
            )?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn samples(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        let samples = text.lines().filter_map(|line| line.strip_prefix("tfbridge_requests"));
        let mut samples: Vec<_> = samples.map(str::to_owned).collect();
        samples.sort_unstable();
        samples
    }

    fn count(requests: &Requests, verb: &'static str, code: u16, subject: Option<(&str, Option<i64>)>) {
        let record = Record::new();
        if let Some((model, version)) = subject {
            record.note_subject(model, "", version);
        }
        let answer = Answer { verb, code, bytes: 1, total: Duration::from_micros(70), write: None };
        requests.count(&answer, &record);
    }

    #[test]
    fn what_is_too_much_is_counted_as_other() {
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry);
        for model in 0..MOST + 5 {
            for _ in 0..2 {
                count(&requests, "predict", 200, Some((&format!("m{model}"), Some(7))));
            }
        }
        // A known model with another code is a label set, too.
        count(&requests, "predict", 404, Some(("m1", Some(7))));
        count(&requests, "predict", 200, Some(("m1", Some(7))));
        let samples = samples(&registry);
        assert_eq!(samples.len(), MOST + 2);
        let has = |sample: &str| assert!(samples.iter().any(|other| other == sample), "{samples:?}");
        has(r#"_total{verb="predict",model="m1",version="7",signature="",code="200"} 3"#);
        has(r#"_total{verb="predict",model="other",version="",signature="",code="200"} 10"#);
        has(r#"_total{verb="predict",model="other",version="",signature="",code="404"} 1"#);
    }

    #[test]
    fn a_model_may_be_named_other() {
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry);
        count(&requests, "status", 200, Some((OTHER, None)));
        count(&requests, "teapot", 418, None);
        assert_eq!(
            samples(&registry),
            [
                r#"_total{verb="none",model="",version="",signature="",code="400"} 1"#,
                r#"_total{verb="status",model="other",version="",signature="",code="200"} 1"#
            ]
        );
    }

    #[test]
    fn threads_are_added_up() {
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..100).for_each(|_| count(&requests, "predict", 200, Some(("m", Some(1))))));
            }
        });
        let total = 2 * SHARDS * 100;
        let expected =
            format!(r#"_total{{verb="predict",model="m",version="1",signature="",code="200"}} {total}"#);
        assert_eq!(samples(&registry), [expected]);
        let (_, counts) = requests.sum();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let expected = format!(r#"tfbridge_request_seconds_bucket{{le="0.0001",verb="predict"}} {total}"#);
        assert!(text.lines().any(|line| line == expected), "{counts:?}\n{text}");
    }
}
