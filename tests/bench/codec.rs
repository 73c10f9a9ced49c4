//! The codec beside serde, on the payloads that people send: `cargo bench --bench codec`.
//!
//! Each line is one payload: its letter, the direction, our best time per request, that in MB
//! of JSON per second, and the ratio to the serde baseline's best time in the same run, which
//! is `serde_json::Value` for requests and `serde_json::to_vec` of nested rows for replies.
//! Ours and the baselines take turns, so that a slow moment of the machine hits all of them.
//!
//! `lines` is a batch of NDJSON, 256 rows as that of a, from the text to the tensor. `npy` is an
//! image as an array of NumPy, to the pieces of the message, beside a copy of its bytes. `arrow` is the
//! same as a stream of Arrow and `table` one of the rows of d, there and back, beside arrow-rs with a batch of its
//! own, which leaves strings where they lie while each is one of its own in a message, and a copy of the bytes.
//! `half` is a reply as that of h in 16-bit floats, beside serde's of the same values in 32 bits.
//! Letters as arguments choose payloads; `--quick` takes few rounds, as a test that it runs.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::expect_used,
    unreachable_pub,
    reason = "a benchmark may panic, and its numbers are its own"
)]

#[path = "arrow.rs"]
mod arrow;
#[path = "payload.rs"]
mod payload;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use payload::{Decode, Encode};
use prost::Message;
use tfbridge::codec::body::{self, Form, Rules};
use tfbridge::codec::lines::{self, Splitter};
use tfbridge::codec::media::Agreement;
use tfbridge::codec::predict::{self, Format};
use tfbridge::codec::{Limits, NanStyle};
use tfbridge::proto::tensorflow::serving::{PredictRequest, PredictResponse};

/// How long the rounds of one payload go on.
const TIME: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let time = if arguments.iter().any(|argument| argument == "--quick") { Duration::ZERO } else { TIME };
    let letters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |letter: &str| letters.is_empty() || letters.iter().any(|chosen| *chosen == letter);
    for letter in payload::DECODE.into_iter().filter(|letter| chosen(letter)) {
        bench_decode(&payload::decode(letter), time);
    }
    if chosen("lines") {
        bench_lines(time);
    }
    if chosen("npy") {
        bench_npy(time);
    }
    for name in arrow::STREAMS.into_iter().filter(|name| chosen(name)) {
        bench_arrow(name, time);
    }
    for letter in payload::ENCODE.into_iter().filter(|letter| chosen(letter)) {
        bench_encode(&payload::encode(letter), time);
    }
}

fn bench_decode(payload: &Decode, time: Duration) {
    let body = Bytes::from(payload.json.clone());
    let limits = Limits::default();
    let ours = || {
        let decoded = predict::decode(&body, &payload.signatures, &limits).expect("the payload is valid");
        black_box(decoded.inputs.len());
    };
    // As TensorFlow Serving's converter was measured: to the bytes that go to the model server.
    let serialized = || {
        let decoded = predict::decode(&body, &payload.signatures, &limits).expect("the payload is valid");
        let request = PredictRequest { inputs: decoded.inputs, ..PredictRequest::default() };
        black_box(request.encode_to_vec());
    };
    let value = || {
        let value: serde_json::Value = serde_json::from_slice(&body).expect("the payload is JSON");
        black_box(value);
    };
    let typed = || (payload.typed)(&body);
    let [ours, serialized, value, typed] = race([&ours, &serialized, &value, &typed], time);
    report(
        payload.letter,
        "decode",
        body.len(),
        ours,
        value,
        &format!(
            "serde_json::Value {}, typed {}, ours serialized {}",
            show(value),
            show(typed),
            show(serialized)
        ),
    );
}

fn bench_lines(time: Duration) {
    let payload = payload::lines();
    let text = Bytes::from(payload.text);
    let limits = Limits::default();
    let ours = || {
        let mut splitter = Splitter::new(256, text.len());
        splitter.push(text.clone());
        let batch = splitter.take().expect("there are lines");
        let decoded = lines::decode(&batch, &payload.signature, &limits, false);
        assert_eq!((decoded.groups.len(), decoded.faults.len()), (1, 0));
        black_box(decoded);
    };
    let value = || (payload.value)(&text);
    let typed = || (payload.typed)(&text);
    let [ours, value, typed] = race([&ours, &value, &typed], time);
    let detail = format!("serde_json::Value {}, typed {}", show(value), show(typed));
    report("lines", "decode", text.len(), ours, value, &detail);
}

fn bench_npy(time: Duration) {
    let payload = payload::npy();
    let body = Bytes::from(payload.file);
    let agreement = Agreement::new(Some("application/x-npy"), [], None).expect("the type is known");
    let rules = Rules { limits: Limits::default(), check_shapes: false };
    let ours = || {
        let decoded = body::decode(&agreement, &body, Some(&payload.signatures), &rules, None);
        black_box(decoded.expect("the payload is valid").inputs.len());
    };
    // What passing the bytes on takes where they do not go as they are.
    let copy = || {
        black_box(body.to_vec());
    };
    let [ours, copy] = race([&ours, &copy], time);
    report("npy", "decode", body.len(), ours, copy, &format!("a copy {}", show(copy)));
}

fn bench_arrow(name: &str, time: Duration) {
    let payload = arrow::payload(name);
    let stream = Bytes::from(arrow::write(&payload.batch));
    let agreement = Agreement::new(Some("application/vnd.apache.arrow.stream"), [], None);
    let agreement = agreement.expect("the type is known");
    let rules = Rules { limits: Limits::default(), check_shapes: false };
    let decode = || {
        let decoded = body::decode(&agreement, &stream, Some(&payload.signatures), &rules, None);
        decoded.expect("the payload is valid").inputs
    };
    let ours = || {
        black_box(decode());
    };
    let theirs = || {
        black_box(arrow::read(&stream));
    };
    let copy = || {
        black_box(stream.to_vec());
    };
    let times = race([&ours, &theirs, &copy], time);
    report_arrow(name, "decode", stream.len(), times);
    let reply = PredictResponse { outputs: decode(), ..PredictResponse::default() };
    let encode = || body::encode(&Form::Arrow, &reply, NanStyle::Literal).expect("the reply is a table").body;
    let size = encode().len();
    let ours = || {
        black_box(encode());
    };
    let theirs = || {
        black_box(arrow::write(&payload.batch));
    };
    let times = race([&ours, &theirs, &copy], time);
    report_arrow(name, "encode", size, times);
}

fn report_arrow(name: &str, direction: &str, bytes: usize, [ours, theirs, copy]: [Duration; 3]) {
    let detail = format!("arrow-rs {}, a copy {}", show(theirs), show(copy));
    report(name, direction, bytes, ours, theirs, &detail);
}

fn bench_encode(payload: &Encode, time: Duration) {
    let outputs = HashMap::from([("scores".to_owned(), payload.tensor.clone())]);
    let encode = || predict::encode(&outputs, Format::Row, NanStyle::Literal).expect("the payload is valid");
    let size = encode().len();
    let ours = || {
        black_box(encode());
    };
    let rows = || (payload.rows)();
    let value = || (payload.value)();
    let [ours, rows, value] = race([&ours, &rows, &value], time);
    let baselines = format!("serde_json::to_vec {}, of Value {}", show(rows), show(value));
    report(payload.letter, "encode", size, ours, rows, &baselines);
}

/// The best time of each contestant; they take turns.
fn race<const N: usize>(contestants: [&dyn Fn(); N], time: Duration) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    let start = Instant::now();
    for round in 0.. {
        for (contestant, best) in contestants.iter().zip(&mut best) {
            // A turn is long enough for the clock, and short enough to find a quiet moment.
            let turn = Instant::now();
            let mut count = 0;
            while count == 0 || (turn.elapsed() < Duration::from_micros(200) && count < 1000) {
                contestant();
                count += 1;
            }
            *best = (*best).min(turn.elapsed() / count);
        }
        if round > 0 && start.elapsed() >= time {
            break;
        }
    }
    best
}

fn report(letter: &str, direction: &str, bytes: usize, ours: Duration, baseline: Duration, detail: &str) {
    let megabytes = bytes as f64 / 1e6 / ours.as_secs_f64();
    let ratio = ours.as_secs_f64() / baseline.as_secs_f64();
    println!(
        "{letter:<5} {direction} {bytes:>9} bytes {:>9} {megabytes:>6.0} MB/s  ratio {ratio:.3}  ({detail})",
        show(ours)
    );
}

fn show(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.2} µs") } else { format!("{:.2} ms", micros / 1000.0) }
}
