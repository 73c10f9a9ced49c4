//! How many requests there were, by what is known of them.
//!
//! Labels are verbs and status codes, which are closed sets, and models, versions and signatures that a
//! backend has confirmed. Of these there are a number at most; whatever comes then is counted as "other".
//! A request that was like one before costs a look-up in a map.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::record::Subject;

/// What requests may ask for; the last one is for those that ask for nothing that there is.
pub(super) const VERBS: [&str; 9] = [
    "predict",
    "classify",
    "regress",
    "multi_inference",
    "status",
    "metadata",
    "metrics",
    "preflight",
    "none",
];

/// The status codes that are told apart. Another one counts as the first of its hundred.
const CODES: [u16; 18] =
    [200, 204, 400, 401, 403, 404, 405, 408, 409, 413, 429, 431, 499, 500, 501, 502, 503, 504];

/// How many label sets there are at most, those of "other" and of no model not included.
const MOST: usize = 1000;

/// The model of those that are too many.
const OTHER: &str = "other";

/// The place of a verb in [`VERBS`].
pub(super) fn verb_index(verb: &str) -> usize {
    VERBS.iter().position(|known| *known == verb).unwrap_or(VERBS.len() - 1)
}

fn code_index(code: u16) -> usize {
    let find = |code| CODES.binary_search(&code);
    find(code).or_else(|_| find(code / 100 * 100)).unwrap_or(0)
}

/// The counters of all requests.
#[derive(Debug)]
pub(super) struct Requests {
    counters: Family<Labels, Counter>,
    /// How many label sets have been used; held while that changes.
    used: Mutex<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    model: String,
    version: String,
    signature: String,
    code: u16,
}

impl Requests {
    /// Counters that are part of the registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Family::default();
        let help = "Requests that are over, by verb, model, version, signature and HTTP status";
        registry.register("tfbridge_requests", help, counters.clone());
        Self { counters, used: Mutex::new(0) }
    }

    /// Counts a request; `verb` is a place in [`VERBS`].
    pub(super) fn count(&self, verb: usize, code: u16, subject: Option<&Subject>) {
        let labels = |model: &str| Labels {
            verb: VERBS[verb],
            model: model.to_owned(),
            version: String::new(),
            signature: String::new(),
            code: CODES[code_index(code)],
        };
        let Some(subject) = subject else {
            self.counters.get_or_create_owned(&labels("")).inc();
            return;
        };
        let own = Labels {
            version: subject
                .version
                .map(|version| itoa::Buffer::new().format(version).to_owned())
                .unwrap_or_default(),
            signature: subject.signature.clone(),
            ..labels(&subject.model)
        };
        if let Some(counter) = self.counters.get(&own) {
            counter.inc();
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been first.
        let is_known = self.counters.get(&own).is_some();
        if is_known || *used < MOST {
            *used += usize::from(!is_known);
            self.counters.get_or_create_owned(&own).inc();
        } else {
            self.counters.get_or_create_owned(&labels(OTHER)).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        let samples = text.lines().filter_map(|line| line.strip_prefix("tfbridge_requests"));
        let mut samples: Vec<_> = samples.map(str::to_owned).collect();
        samples.sort_unstable();
        samples
    }

    fn subject(model: &str, version: Option<i64>) -> Subject {
        Subject { model: model.to_owned(), signature: String::new(), version }
    }

    #[test]
    fn what_is_too_much_is_counted_as_other() {
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry);
        for model in 0..MOST + 5 {
            for _ in 0..2 {
                requests.count(0, 200, Some(&subject(&format!("m{model}"), Some(7))));
            }
        }
        // A known model with another code is a label set, too.
        requests.count(0, 404, Some(&subject("m1", Some(7))));
        requests.count(0, 200, Some(&subject("m1", Some(7))));
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
        requests.count(4, 200, Some(&subject(OTHER, None)));
        requests.count(verb_index("teapot"), 418, None);
        assert_eq!(
            samples(&registry),
            [
                r#"_total{verb="none",model="",version="",signature="",code="400"} 1"#,
                r#"_total{verb="status",model="other",version="",signature="",code="200"} 1"#
            ]
        );
    }
}
