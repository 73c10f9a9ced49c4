//! Bodies: deep, huge, repeated, broken, or text that is none.

use crate::attack::Attack;
use crate::http1::{ECHO, HALF, post};

/// Many of something: a tenth of it for a program that is not optimized, which takes ten times as
/// long for each.
const MILLION: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Refused for what it says; the connection is as good as before.
const BAD: &[&str] = &["400 open"];

/// Refused, or understood, which costs no more.
const FINE: &[&str] = &["200 open", "400 open"];

/// A predict of this text.
fn text(body: impl AsRef<[u8]>) -> Vec<u8> {
    post(HALF, "", body)
}

/// A predict of these values.
fn values(values: &str) -> Vec<u8> {
    text(format!("{{\"instances\":[{values}]}}"))
}

/// The same for a signature of the model that takes any.
fn echo(signature: &str, values: &str) -> Vec<u8> {
    post(ECHO, "", format!("{{\"signature_name\":\"{signature}\",\"instances\":[{values}]}}"))
}

fn nested(open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(MILLION / 2), close.repeat(MILLION / 2))
}

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("json", name, expect, bytes)
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("500 000 lists in tensor data", BAD, || values(&nested("[", "1", "]")))
            .needs(&["--max-depth"]),
        attack("500 000 lists that are never closed", BAD, || values(&"[".repeat(MILLION / 2))),
        attack("500 000 objects in tensor data", BAD, || values(&nested("{\"a\":", "1", "}"))),
        attack("500 000 lists elsewhere", FINE, || {
            text(format!("{{\"x\":{},\"instances\":[1]}}", nested("[", "1", "]")))
        }),
        attack("500 000 objects elsewhere", FINE, || {
            text(format!("{{\"x\":{},\"instances\":[1]}}", nested("{\"a\":", "1", "}")))
        }),
        attack("500 000 lists as the document", BAD, || text(nested("[", "", "]"))),
        attack("500 000 lists in an example", BAD, || {
            post(
                "/v1/models/half_plus_two:classify",
                "",
                format!("{{\"examples\":[{{\"x\":{}}}]}}", nested("[", "1", "]")),
            )
        })
        .needs(&["--max-depth"]),
        attack("500 000 lists in the context", BAD, || {
            post(
                "/v1/models/half_plus_two:regress",
                "",
                format!("{{\"context\":{},\"examples\":[]}}", nested("[", "1", "]")),
            )
        })
        .needs(&["--max-depth"]),
        attack("an integer of a million digits", BAD, || echo("int64", &"9".repeat(MILLION))),
        attack("a float of a million digits", BAD, || values(&"9".repeat(MILLION))),
        attack("a fraction of a million digits", FINE, || values(&format!("0.{}", "3".repeat(MILLION)))),
        attack("an exponent of a million digits", BAD, || values(&format!("1e{}", "9".repeat(MILLION)))),
        attack("a negative exponent of a million digits", FINE, || {
            values(&format!("1e-{}", "9".repeat(MILLION)))
        }),
        attack("a million zeros before a digit", BAD, || values(&format!("{}1", "0".repeat(MILLION)))),
        attack("1e999999999", BAD, || values("1e999999999")),
        attack("a million digits in an unused member", FINE, || {
            text(format!("{{\"x\":{},\"instances\":[1]}}", "9".repeat(MILLION)))
        }),
        attack("a million tiny keys", FINE, || {
            let keys: Vec<_> = (0..MILLION).map(|index| format!("\"{index}\":0")).collect();
            text(format!("{{{},\"instances\":[1]}}", keys.join(",")))
        })
        .attackers(2),
        attack("a million inputs", BAD, || {
            let keys: Vec<_> = (0..MILLION).map(|index| format!("\"{index}\":0")).collect();
            text(format!("{{\"inputs\":{{{}}}}}", keys.join(",")))
        })
        .attackers(2),
        attack("a million inputs in an instance", BAD, || {
            let keys: Vec<_> = (0..MILLION).map(|index| format!("\"{index}\":0")).collect();
            values(&format!("{{{}}}", keys.join(",")))
        })
        .attackers(2),
        // More memory than there is, or not.
        attack("a million features in an example", &["200 open", "400 open", "413 open", "503 open"], || {
            let keys: Vec<_> = (0..MILLION).map(|index| format!("\"{index}\":0")).collect();
            post(
                "/v1/models/half_plus_two:classify",
                "",
                format!("{{\"examples\":[{{{}}}]}}", keys.join(",")),
            )
        })
        .attackers(2),
        attack("a million names in a filter", BAD, || {
            text(format!("{{\"output_filter\":[{}\"y\"],\"instances\":[1]}}", "\"y\",".repeat(MILLION)))
        })
        .attackers(2),
        attack("the same key a million times", FINE, || {
            text(format!("{{{}\"instances\":[1]}}", "\"x\":0,".repeat(MILLION)))
        })
        .attackers(2),
        // The first one counts, as in the original.
        attack("the same input a million times", FINE, || {
            text(format!("{{\"inputs\":{{{}\"x\":0}}}}", "\"x\":0,".repeat(MILLION)))
        })
        .attackers(2),
        attack("the same input twice in a row", BAD, || values("{\"x\":1,\"x\":2}")),
        // The first one counts, as in the original.
        attack("two lists of instances", &["200 open", "400 open"], || {
            text("{\"instances\":[1],\"instances\":[2]}")
        }),
        attack("a million empty lists", FINE, || values(&format!("{}[]", "[],".repeat(MILLION))))
            .attackers(2),
        attack("a million empty objects", BAD, || values(&format!("{}{{}}", "{},".repeat(MILLION))))
            .attackers(2),
        attack("a million nulls", BAD, || values(&format!("{}null", "null,".repeat(MILLION)))).attackers(2),
        attack("a ragged list", BAD, || values("[1,2],[3]")),
        attack("a list that turns ragged at the end of 2 MB", BAD, || {
            values(&format!("{}[1]", "[1,2],".repeat(MILLION / 3)))
        })
        .attackers(1),
        attack("a wrong value at the end of 2 MB", BAD, || values(&format!("{}x", "1,".repeat(MILLION))))
            .attackers(1),
        attack("a wrong value behind a million keys", BAD, || {
            let keys: Vec<_> = (0..MILLION).map(|index| format!("\"{index}\":0")).collect();
            text(format!("{{{},\"instances\":[\"a\"]}}", keys.join(",")))
        })
        .attackers(2),
        attack("a million strings", FINE, || echo("string", &format!("{}\"\"", "\"\",".repeat(MILLION))))
            .attackers(2),
        attack("a string of 8 MB", FINE, || echo("string", &format!("\"{}\"", "a".repeat(8 << 20))))
            .attackers(2),
        attack("8 MB of escapes", FINE, || echo("string", &format!("\"{}\"", "\\u0041".repeat(1_400_000))))
            .attackers(2),
        attack("base64 of nothing known", BAD, || echo("string", "{\"b64\":\"!!!!\"}")),
        attack("8 MB of base64 with one wrong letter", BAD, || {
            echo("string", &format!("{{\"b64\":\"{}!\"}}", "A".repeat(8 << 20)))
        })
        .attackers(2),
        attack("half of a surrogate pair", BAD, || echo("string", r#""\ud800""#)),
        attack("the other half of a surrogate pair", BAD, || echo("string", r#""\udc00""#)),
        attack("a string that is no UTF-8", FINE, || {
            post(ECHO, "", b"{\"signature_name\":\"string\",\"instances\":[\"\xff\xfe\xc0\x80\"]}")
        }),
        attack("a key that is no UTF-8", FINE, || text(b"{\"\xff\xfe\":0,\"instances\":[1]}")),
        attack("an input whose name is no UTF-8", BAD, || text(b"{\"inputs\":{\"\xff\xfe\":0}}")),
        attack("a signature whose name is no UTF-8", BAD, || {
            text(b"{\"signature_name\":\"\xff\xfe\",\"instances\":[1]}")
        }),
        attack("NUL in a key", BAD, || text(b"{\"insta\0nces\":[1]}")),
        attack("NUL in the name of an input, escaped", BAD, || text(br#"{"inputs":{"x\u0000y":0}}"#)),
        attack("NUL behind the document", FINE, || text(b"{\"instances\":[1]}\0")),
        attack("NULs alone", BAD, || text(vec![0; 1 << 20])),
        attack("8 MB of spaces", BAD, || text(" ".repeat(8 << 20))).attackers(2),
        attack("a byte order mark", FINE, || text("\u{feff}{\"instances\":[1]}")),
        attack("byte order marks alone", BAD, || text("\u{feff}".repeat(100_000))),
        attack("UTF-16", BAD, || {
            text("{\"instances\":[1]}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
        }),
        attack("no body at all", BAD, || text("")),
        attack("an offset beyond all numbers", BAD, || echo("uint64", "18446744073709551616")),
        attack("text that ends at every place", BAD, || {
            let whole = r#"{"signature_name":"mixed","instances":[{"a":[-1.5e+3,NaN],"b":true,"s":"\u00e9\n"},null]}"#;
            (0..whole.len()).flat_map(|end| post(ECHO, "", &whole[..end])).collect()
        }),
        attack("values of the wrong kind", &["400 200 400 open", "400 open"], || {
            let kinds =
                ["null", "\"a\"", "{}", "[[[]]]", "{\"b64\":1}", "Infinit", "-", "+1", "01", ".5", "1."];
            kinds
                .iter()
                .flat_map(|kind| [values(kind), echo("int32", kind), echo("bool", kind)])
                .flatten()
                .collect()
        }),
        attack("32 MB of numbers, and one more", &["413 open", "413 closed"], || {
            values(&format!("{}1", "1,".repeat(16 << 20)))
        })
        .attackers(1),
    ]
}
