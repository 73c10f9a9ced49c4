//! What a body may ask for beyond its size, at each limit and one beyond, for every way to read it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::codec::{Limits, example, predict};
use tfbridge::error::Error;
use tfbridge::mock::{Model, Models};
use tfbridge::proto::tensorflow::DataType;

use crate::bridge::{Bridge, models};

type Decode = fn(&Bytes, &Limits) -> Result<(), Error>;

fn predict_as(dtype: DataType, body: &Bytes, limits: &Limits) -> Result<(), Error> {
    let input = Input { name: "x".to_owned(), dtype, shape: None };
    let signatures = Signatures::from_iter([("serving_default".to_owned(), Signature::new(vec![input]))]);
    predict::decode(body, &signatures, limits).map(drop)
}

const FLOATS: Decode = |body, limits| predict_as(DataType::DtFloat, body, limits);
const BOOLS: Decode = |body, limits| predict_as(DataType::DtBool, body, limits);
const HALVES: Decode = |body, limits| predict_as(DataType::DtHalf, body, limits);
const COMPLEX: Decode = |body, limits| predict_as(DataType::DtComplex64, body, limits);
const STRINGS: Decode = |body, limits| predict_as(DataType::DtString, body, limits);
const GUESSED: Decode = |body, limits| predict::decode_guessed(body, limits).map(drop);
const CHECK: Decode = |body, limits| predict::check(body, limits);
const CLASSIFY: Decode = |body, limits| example::decode(body, "classify", limits).map(drop);
const TASKS: Decode =
    |body, limits| example::decode_multi_inference(body, "multi_inference", limits).map(drop);

/// A limit of this many decodes the first body of each case and refuses the second one with the
/// message, as a bad request.
fn check(limits: Limits, cases: &[(Decode, String, String, String)]) {
    for (decode, allowed, beyond, message) in cases {
        let result = decode(&allowed.clone().into(), &limits);
        assert!(result.is_ok(), "{allowed}: {result:?}");
        let error = decode(&beyond.clone().into(), &limits).expect_err(beyond);
        assert_eq!((error.message(), error.status().as_u16()), (message.as_str(), 400), "{beyond}");
    }
}

fn lists(depth: usize, inner: &str) -> String {
    format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth))
}

fn objects(depth: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))
}

#[test]
fn levels_are_limited_wherever_they_are() {
    // The body's object is a level, and so is each list and object around the nested value.
    let case = |decode: Decode,
                around: usize,
                before: &str,
                value: &dyn Fn(usize) -> String,
                after: &str,
                at: &str| {
        let body = |levels: usize| format!("{before}{}{after}", value(levels - around));
        (decode, body(8), body(9), format!("{at}: More than 8 levels of nesting"))
    };
    let zeros = |count: usize| "/0".repeat(count);
    let ignored_lists = format!("/more{}", zeros(7));
    let ignored_objects = format!("/more{}", "/a".repeat(7));
    let of_lists = |depth| lists(depth, "1");
    let mut cases = vec![
        case(FLOATS, 1, r#"{"inputs":"#, &of_lists, "}", &format!("/inputs{}", zeros(7))),
        case(FLOATS, 1, r#"{"instances":"#, &of_lists, "}", &format!("/instances{}", zeros(7))),
        case(FLOATS, 1, r#"{"inputs":"#, &|depth| lists(depth, ""), "}", &format!("/inputs{}", zeros(7))),
        case(FLOATS, 2, r#"{"inputs":{"x":"#, &of_lists, "}}", &format!("/inputs/x{}", zeros(6))),
        case(
            FLOATS,
            2,
            r#"{"inputs":{"more":"#,
            &of_lists,
            r#","x":1}}"#,
            &format!("/inputs/more{}", zeros(6)),
        ),
        case(FLOATS, 3, r#"{"instances":[{"x":"#, &of_lists, "}]}", &format!("/instances/0/x{}", zeros(5))),
        case(
            COMPLEX,
            2,
            r#"{"inputs":"#,
            &|depth| lists(depth, "[1,2]"),
            "}",
            &format!("/inputs{}", zeros(7)),
        ),
        case(
            STRINGS,
            2,
            r#"{"inputs":"#,
            &|depth| lists(depth, r#"{"b64":""}"#),
            "}",
            &format!("/inputs{}", zeros(7)),
        ),
        case(GUESSED, 2, r#"{"inputs":{"x":"#, &of_lists, "}}", &format!("/inputs/x{}", zeros(6))),
        case(GUESSED, 3, r#"{"instances":[{"x":"#, &of_lists, "}]}", &format!("/instances/0/x{}", zeros(5))),
        case(
            TASKS,
            3,
            r#"{"examples":[{}],"tasks":[{"method_name":"regress","more":"#,
            &of_lists,
            "}]}",
            &format!("/tasks/0/more{}", zeros(5)),
        ),
    ];
    for (decode, rest) in [
        (FLOATS, r#","inputs":[1]}"#),
        (STRINGS, r#","instances":["a"]}"#),
        (GUESSED, r#","inputs":{"x":1}}"#),
        (CHECK, "}"),
        (CLASSIFY, r#","examples":[{}]}"#),
        (TASKS, r#","examples":[{}],"tasks":[{"method_name":"regress"}]}"#),
    ] {
        cases.push(case(decode, 1, r#"{"more":"#, &of_lists, rest, &ignored_lists));
        cases.push(case(decode, 1, r#"{"more":"#, &objects, rest, &ignored_objects));
    }
    check(Limits { depth: 8, ..Limits::default() }, &cases);
    let four = r#"{"examples":[{"x":["a"]}]}"#.to_owned();
    let five = r#"{"examples":[{"x":["a",{"b64":""}]}]}"#.to_owned();
    let message = "/examples/0/x/1: More than 4 levels of nesting".to_owned();
    check(Limits { depth: 4, ..Limits::default() }, &[(CLASSIFY, four, five, message)]);
}

#[test]
fn dimensions_are_limited() {
    let limits = Limits { rank: 3, ..Limits::default() };
    let case = |decode: Decode, body: &dyn Fn(usize) -> String, at: &str| {
        (decode, body(3), body(4), format!("{at}: A tensor has at most 3 dimensions"))
    };
    let columns = |rank: usize| format!("{{\"inputs\":{{\"x\":{}}}}}", lists(rank, "1"));
    let rows = |rank: usize| format!("{{\"instances\":[{{\"x\":{}}}]}}", lists(rank - 1, "1"));
    let values = |rank: usize| format!("{{\"instances\":{}}}", lists(rank, ""));
    let complex = |rank: usize| format!("{{\"inputs\":{}}}", lists(rank, "[1,2]"));
    check(
        limits,
        &[
            case(FLOATS, &columns, "/inputs/x/0/0/0"),
            case(GUESSED, &columns, "/inputs/x/0/0/0"),
            case(FLOATS, &rows, "/instances"),
            case(GUESSED, &rows, "/instances"),
            case(FLOATS, &values, "/instances/0/0/0"),
            case(COMPLEX, &complex, "/inputs/0/0/0"),
        ],
    );
    // No limit goes beyond what TensorFlow knows.
    let body = format!("{{\"inputs\":{}}}", lists(255, "1"));
    let error = FLOATS(&body.into(), &Limits { rank: 1000, ..Limits::default() }).unwrap_err();
    assert!(error.message().ends_with("A tensor has at most 254 dimensions"), "{error}");
}

#[test]
fn elements_are_limited() {
    let limits = Limits { elements: 600, ..Limits::default() };
    let repeat = |value: &str, count: usize| vec![value; count].join(",");
    let case = |decode: Decode, allowed: String, beyond: String, at: &str| {
        (decode, allowed, beyond, format!("{at}: More than 600 elements"))
    };
    let flat = |decode: Decode, value: &str, more: &str| {
        let body =
            |count: usize| format!("{{\"inputs\":{{\"x\":[{}]}}}}", repeat(value, count).replace(',', more));
        case(decode, body(600), body(601), "/inputs/x/600")
    };
    let in_lists = |list: &str, count: usize, at: &str| {
        let body = |count: usize| format!("{{\"instances\":[{}]}}", repeat(list, count));
        case(FLOATS, body(count), body(count + 1), at)
    };
    let rows = |decode: Decode, row: &str, count: usize, at: &str| {
        let body = |count: usize| format!("{{\"instances\":[{}]}}", repeat(row, count));
        case(decode, body(count), body(count + 1), at)
    };
    let features = |count: usize| {
        let members: Vec<_> = (0..count).map(|index| format!("\"f{index}\":1")).collect();
        format!("{{\"examples\":[{{{}}}]}}", members.join(","))
    };
    let complex = |count: usize| format!("{{\"inputs\":[{}]}}", repeat("[1,2]", count));
    check(
        limits,
        &[
            flat(FLOATS, "1.5", ","),
            flat(FLOATS, "1.5", ", "),
            flat(FLOATS, "1.5", " ,\n"),
            flat(FLOATS, "123456789012345678901234567890", ","),
            flat(BOOLS, "true", ","),
            flat(HALVES, "1.5", ","),
            flat(STRINGS, "\"\"", ","),
            flat(GUESSED, "1", ","),
            case(COMPLEX, complex(600), complex(601), "/inputs/600"),
            in_lists("[1]", 600, "/instances/600/0"),
            in_lists("[1,2,3]", 200, "/instances/200/0"),
            in_lists("[1,2,3,4,5,6,7]", 85, "/instances/85/5"),
            in_lists("[[1,2],[3,4]]", 150, "/instances/150/0/0"),
            in_lists("[1 , 2]", 300, "/instances/300/0"),
            rows(FLOATS, r#"{"x":1}"#, 600, "/instances/600/x"),
            rows(STRINGS, r#"{"x":["a","b"]}"#, 300, "/instances/300/x/0"),
            rows(GUESSED, r#"{"x":[1,2]}"#, 300, "/instances/300/x/0"),
            case(
                CLASSIFY,
                format!("{{\"examples\":[{}]}}", repeat("{}", 600)),
                format!("{{\"examples\":[{}]}}", repeat("{}", 601)),
                "/examples/600",
            ),
            case(
                CLASSIFY,
                format!("{{\"examples\":[{{\"x\":[{}]}}]}}", repeat("1", 600)),
                format!("{{\"examples\":[{{\"x\":[{}]}}]}}", repeat("1", 601)),
                "/examples/0/x/600",
            ),
            case(CLASSIFY, features(600), features(601), "/examples/0"),
            case(
                TASKS,
                format!(
                    "{{\"tasks\":[{}],\"examples\":[{{}}]}}",
                    repeat(r#"{"method_name":"regress"}"#, 600)
                ),
                format!(
                    "{{\"tasks\":[{}],\"examples\":[{{}}]}}",
                    repeat(r#"{"method_name":"regress"}"#, 601)
                ),
                "/tasks/600",
            ),
        ],
    );
}

#[test]
fn strings_are_limited_as_they_are_meant() {
    let limits = Limits { string_size: 20, ..Limits::default() };
    let long = |unit: &str, count: usize| format!("\"{}\"", unit.repeat(count));
    let base64 = |size: usize, between: &str| {
        let text = base64_simd::STANDARD.encode_to_string(vec![7; size]);
        let text: Vec<String> = text.chars().map(String::from).collect();
        format!("{{\"b64\":\"{}\"}}", text.join(between))
    };
    let values = [
        (long("a", 20), long("a", 21)),
        (long("\\n", 20), long("\\n", 21)),
        (format!("\"{}\\n\"", "a".repeat(19)), format!("\"{}\\n\"", "a".repeat(20))),
        (format!("\"\\n{}\"", "a".repeat(19)), format!("\"\\n{}\"", "a".repeat(20))),
        (long("\\u00e9", 10), long("\\u00e9", 11)),
        (base64(20, ""), base64(21, "")),
        (base64(20, "\\n"), base64(21, "\\n")),
        (base64(20, " "), base64(2100, " ")),
    ];
    let mut cases = Vec::new();
    for (allowed, beyond) in values {
        for (decode, before, after, at) in [
            (STRINGS, r#"{"inputs":"#, "}", "/inputs"),
            (STRINGS, r#"{"instances":["a","#, "]}", "/instances/1"),
            (STRINGS, r#"{"instances":[{"x":"#, "}]}", "/instances/0/x"),
            (GUESSED, r#"{"inputs":{"x":["#, "]}}", "/inputs/x/0"),
            (CLASSIFY, r#"{"examples":[{"x":"#, "}]}", "/examples/0/x"),
            (CLASSIFY, r#"{"context":{"x":["a","#, r#"]},"examples":[{}]}"#, "/context/x/1"),
        ] {
            let body = |value: &str| format!("{before}{value}{after}");
            cases.push((
                decode,
                body(&allowed),
                body(&beyond),
                format!("{at}: More than 20 bytes in a string"),
            ));
        }
    }
    check(limits, &cases);
    // Names are no elements, and neither is what nobody reads.
    let body = format!(r#"{{"{0}":"{0}","inputs":["a"]}}"#, "a".repeat(100));
    STRINGS(&body.into(), &limits).unwrap();
}

/// The place is found in one pass, however deep the value is nested.
#[test]
fn the_place_of_a_deep_fault_takes_no_longer_than_another() {
    let numbers = "1,".repeat(200_000);
    let time = |depth: usize| {
        let body = Bytes::from(format!("{{\"inputs\":{}}}", lists(depth, &format!("{numbers}null"))));
        let start = Instant::now();
        let error = FLOATS(&body, &Limits::default()).unwrap_err();
        let place = format!("/inputs{}/200000: JSON Value: null ", "/0".repeat(depth - 1));
        assert!(error.message().starts_with(&place), "{error}");
        start.elapsed()
    };
    let (flat, deep) = (time(1), time(254));
    assert!(deep < 20 * flat + Duration::from_secs(1), "{flat:?}, {deep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_million_levels_are_refused_at_once() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    for value in [lists(500_000, "1"), objects(500_000), "[{\"a\":".repeat(250_000)] {
        for (verb, before, after) in [
            ("predict", r#"{"instances":"#, "}"),
            ("predict", r#"{"instances":[{"x":"#, "}]}"),
            ("predict", r#"{"inputs":"#, "}"),
            ("predict", r#"{"signature_name":"#, r#","instances":[1]}"#),
            ("predict", r#"{"more":"#, r#","instances":[1]}"#),
            ("predict", r#"{"instances":[1],"more":"#, "}"),
            ("classify", r#"{"examples":"#, "}"),
            ("classify", r#"{"examples":[{"x":"#, "}]}"),
            ("regress", r#"{"more":"#, r#","examples":[{"x":1}]}"#),
            ("multi_inference", r#"{"tasks":"#, r#","examples":[{"x":1}]}"#),
            ("predict", "", ""),
        ] {
            let start = Instant::now();
            let path = format!("/v1/models/half_plus_two:{verb}");
            let response = client.post(&path, format!("{before}{value}{after}")).await;
            assert_eq!(response.status, 400, "{}", response.text());
            assert!(response.error().contains("levels of nesting"), "{before}: {}", response.text());
            assert!(start.elapsed() < Duration::from_secs(30), "{before}: {:?}", start.elapsed());
        }
    }
}

/// A body that is decoded while it arrives has the limits of one that arrives at once.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_have_the_same_limits() {
    let count = 400_000;
    let limits = Limits { elements: count, depth: 3, ..Limits::default() };
    let bridge = Bridge::start_with(models(), |config| config.api.limits = limits).await;
    let mut client = bridge.connect().await;
    let path = "/v1/models/echo:predict";
    let numbers = |count: usize| vec!["1.5"; count].join(",");
    let pairs = |count: usize| vec!["[1.5,2]"; count].join(",");
    for (value, place) in [
        (format!("[{}]", numbers(count)), None),
        (format!("[{}]", numbers(count + 1)), Some("/instances/400000: More than 400000 elements")),
        (format!("[{}]", pairs(count / 2)), None),
        (format!("[{}]", pairs(count / 2 + 1)), Some("/instances/200000/0: More than 400000 elements")),
        (format!("[[{}]]", numbers(count)), None),
        (format!("[[[{}]]]", numbers(count)), Some("/instances/0/0: More than 3 levels of nesting")),
        (
            format!("[{},[[[1]]]]", numbers(count - 1)),
            Some("/instances/399999/0: More than 3 levels of nesting"),
        ),
    ] {
        let response = client.post(path, format!("{{\"instances\":{value}}}")).await;
        match place {
            None => assert_eq!(response.status, 200),
            Some(message) => assert_eq!((response.status, response.error().as_str()), (400, message)),
        }
    }
}

#[tokio::test]
async fn shapes_are_checked_where_that_is_asked_for() {
    let bridge = Bridge::start_with(models(), |config| config.api.check_shapes = true).await;
    let lenient = Bridge::start(models()).await;
    let (mut client, mut lenient) = (bridge.connect().await, lenient.connect().await);
    let hundred = format!("{{\"instances\": [[{}]]}}", vec!["0"; 100].join(","));
    for (model, body, message) in [
        ("affine100", hundred.as_str(), ""),
        (
            "affine100",
            r#"{"instances": [1, 2, 3]}"#,
            r#"/instances: Input "x" has shape [3], but the signature wants [-1,100]"#,
        ),
        (
            "affine100",
            r#"{"inputs": {"x": [[1, 2]]}}"#,
            r#"/inputs/x: Input "x" has shape [1,2], but the signature wants [-1,100]"#,
        ),
        (
            "affine100",
            r#"{"inputs": []}"#,
            r#"/inputs: Input "x" has shape [0], but the signature wants [-1,100]"#,
        ),
        ("echo", r#"{"inputs": [[[1]]]}"#, ""),
        (
            "half_plus_two",
            r#"{"instances": [1]}"#,
            r#"/instances: Input "x" has shape [1], but the signature wants [-1,1]"#,
        ),
    ] {
        let path = format!("/v1/models/{model}:predict");
        let response = client.post(&path, body).await;
        if message.is_empty() {
            assert_eq!(response.status, 200, "{body}: {}", response.text());
        } else {
            assert_eq!((response.status, response.error().as_str()), (400, message), "{body}");
            assert_eq!(response.headers.get("x-attempts"), None, "{body}");
        }
    }
    let response = lenient.post("/v1/models/half_plus_two:predict", r#"{"instances": [1]}"#).await;
    assert_eq!(response.json(), json!({"predictions": [2.5]}));
}

/// What the signature of an old version refuses may be right for the new one.
#[tokio::test]
async fn shapes_are_those_of_the_version_that_is_served() {
    let models = Models::empty().with(Model::half_plus("m", 2.0));
    let bridge = Bridge::start_with(models.clone(), |config| config.api.check_shapes = true).await;
    let mut client = bridge.connect().await;
    let path = "/v1/models/m:predict";
    assert_eq!(client.post(path, r#"{"instances": [[1]]}"#).await.status, 200);
    assert_eq!(client.post(path, r#"{"instances": [1]}"#).await.status, 400);
    let _ = models.with(Model::echo("m").versions([200]));
    let response = client.post(path, r#"{"instances": [1]}"#).await;
    assert_eq!(response.json(), json!({"predictions": [1.0]}));
    assert_eq!(response.headers["x-model-version"], "200");
}
