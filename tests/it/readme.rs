//! What the README claims: its requests get the replies shown, its table of flags is complete.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tfbridge::mock::Models;

use crate::bridge::Bridge;

fn readme() -> String {
    fs::read_to_string("README.md").unwrap()
}

/// The `curl` lines of the README's console blocks, each with the lines that follow it.
fn requests(readme: &str) -> Vec<(&str, String)> {
    let lines: Vec<&str> = readme.lines().collect();
    let is_reply = |line: &&&str| !line.starts_with("$ ") && !line.starts_with("```");
    let mut requests = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(request) = line.strip_prefix("$ curl ") {
            let reply: Vec<&str> = lines[at + 1..].iter().take_while(is_reply).copied().collect();
            requests.push((request, reply.join("\n")));
        }
    }
    requests
}

/// A header and a body as `curl` has them, the header only where there is one.
fn arguments(text: &str) -> (Option<(&str, &str)>, Option<String>) {
    let text = text.trim();
    let (header, rest) = match text.strip_prefix("-H '").and_then(|text| text.split_once('\'')) {
        Some((header, rest)) => (header.split_once(": "), rest.trim()),
        None => (None, text),
    };
    let quoted = |start| rest.strip_prefix(start)?.strip_suffix('\'');
    let escaped = quoted("--data-binary $'").map(|body| body.replace("\\n", "\n"));
    (header, escaped.or_else(|| quoted("-d '").map(str::to_owned)))
}

#[tokio::test]
async fn requests_get_the_replies_shown() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let readme = readme();
    let requests = requests(&readme);
    assert!(requests.len() > 10, "{}", requests.len());
    for (request, reply) in requests {
        let (arguments, path) = request.rsplit_once("localhost:8501").unwrap();
        let (header, body) = self::arguments(arguments);
        let response = match body {
            Some(body) => client.request("POST", path, header.as_slice(), body.as_bytes()).await,
            None => client.get(path).await,
        };
        assert_eq!(response.text().trim_end(), reply, "{request}");
    }
}

#[test]
fn flags_are_those_of_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = |text: &str| -> BTreeSet<String> {
        let flags = text
            .lines()
            .map(str::trim_start)
            .filter(|line| line.starts_with("--") || line.starts_with("| `--"));
        let name = |line: &str| {
            let name = line.trim_start_matches("| `");
            name.split(|character: char| !character.is_alphanumeric() && character != '-')
                .next()
                .unwrap()
                .to_owned()
        };
        flags.map(name).collect()
    };
    assert_eq!(words(&readme()), words(&help));
    for line in readme().lines().filter(|line| line.starts_with("| `--")) {
        // Where there is no default, it is described.
        let Some(default) = line.split('|').nth(2).unwrap().trim().strip_prefix('`') else { continue };
        let default = default.trim_end_matches('`');
        assert!(help.contains(&format!("[default: {default}]")), "{line}");
    }
}

#[test]
fn bad_arguments_end_with_64() {
    for arguments in [
        &["serve", "--backend", "ftp://x:1"][..],
        &["serve", "--timeout", "soon"],
        &["serve", "--log", "a=b=c"],
        &["serve", "--backend", "https://x:1", "--backend-ca", "/nowhere.pem"],
        &["serve", "--backend-cert", "alone.pem"],
        &["serve", "--pass-header", "te"],
        &["serve", "--hedge-percentile", "100"],
        &["serve", "--auth-file", "/nowhere.toml"],
        &["serve", "--auth-file", "Cargo.toml"],
        &["serve", "--cors", "--cors-origin", "https://example.com"],
        &["serve", "--cors-origin", "example.com"],
        &["serve", "--cors-origin", "https://example.com/"],
        &["serve", "--cors-method", "fetch"],
        &["serve", "--cors-header", "a b"],
        &["serve", "--cors-max-age", "long"],
        &["serve", "--compress-min-size", "big"],
        &["serve", "--otlp-endpoint", "localhost:4317"],
        &["serve", "--trace-sample", "1.5"],
        &["serve", "--log-format", "xml"],
        &["serve", "--payload-log-sample=-1"],
        &["demo", "--cors", "--cors-origin", "*", "--listen", "127.0.0.1:0"],
        &["token", "--name", "a\"b"],
        &["fly"],
        &[],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
