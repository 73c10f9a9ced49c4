//! The configuration file: what it may say, what counts for more, and what it is told wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tfbridge::cli::CommandLine;
use tfbridge::config::Config;
use tonic::Code;

/// A directory with a `tfbridge.toml`, in which the program runs.
struct Place(TempDir);

impl Place {
    fn new(text: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write(text);
        place
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tfbridge.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        run(self.0.path(), arguments, variables)
    }

    /// The line of `check-config --print` about a key.
    fn effective(&self, key: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let arguments = [&["check-config", "tfbridge.toml", "--print"], arguments].concat();
        let output = self.run(&arguments, variables);
        let text = success(output);
        let line = text.lines().find(|line| line.starts_with(&format!("{key} = ")));
        line.unwrap_or_else(|| panic!("no {key}: {text}")).to_owned()
    }

    fn command_line(&self, arguments: &[&str]) -> CommandLine {
        let path = self.path();
        let words = ["tfbridge", "serve", "--config", path.to_str().unwrap()];
        CommandLine::new(words.iter().chain(arguments).copied())
    }
}

fn run(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TFBRIDGE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(directory).output().unwrap()
}

fn success(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The message that the program ends with.
fn failure(output: Output) -> String {
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    text.trim().to_owned()
}

#[test]
fn a_flag_counts_for_more_than_its_variable_than_the_file_than_the_default() {
    let (empty, file) = (Place::new(""), Place::new("timeout = \"2s\""));
    let flag = ["--timeout", "4s"];
    let variable = [("TFBRIDGE_TIMEOUT", "3s")];
    let check = |place: &Place, flag: &[&str], variable: &[(&str, &str)], expected: &str| {
        assert_eq!(place.effective("timeout", flag, variable), format!("timeout = {expected}"));
    };
    check(&empty, &[], &[], "\"30s\" # default");
    check(&file, &[], &[], "\"2s\" # file");
    check(&empty, &[], &variable, "\"3s\" # variable");
    check(&empty, &flag, &[], "\"4s\" # flag");
    check(&file, &[], &variable, "\"3s\" # variable");
    check(&file, &flag, &[], "\"4s\" # flag");
    check(&empty, &flag, &variable, "\"4s\" # flag");
    check(&file, &flag, &variable, "\"4s\" # flag");
}

#[test]
fn switches_can_be_turned_off_again() {
    let (empty, on, off) = (Place::new(""), Place::new("cors = true"), Place::new("cors = false"));
    let check = |place: &Place, flags: &[&str], variable: Option<&str>, expected: &str| {
        let variable: Vec<_> = variable.iter().map(|value| ("TFBRIDGE_CORS", *value)).collect();
        assert_eq!(place.effective("cors", flags, &variable), format!("cors = {expected}"));
    };
    check(&empty, &[], None, "false # default");
    check(&empty, &["--cors"], None, "true # flag");
    check(&empty, &[], Some("true"), "true # variable");
    check(&on, &[], None, "true # file");
    check(&off, &[], None, "false # file");
    check(&on, &[], Some("false"), "false # variable");
    check(&on, &["--cors=false"], None, "false # flag");
    check(&off, &["--cors"], Some("false"), "true # flag");
    check(&off, &["--cors=true"], None, "true # flag");
}

#[test]
fn lists_replace_each_other_whole() {
    let place =
        Place::new("backend = [\"a:1\", \"b:1\"]\nreturn_header = \"x-a,x-b\"\npass-header = \"x-c\"");
    let effective = |key: &str, arguments: &[&str]| place.effective(key, arguments, &[]);
    assert_eq!(effective("backend", &[]), "backend = [\"a:1\", \"b:1\"] # file");
    assert_eq!(effective("return-header", &[]), "return-header = [\"x-a\", \"x-b\"] # file");
    assert_eq!(effective("pass-header", &[]), "pass-header = [\"x-c\"] # file");
    assert_eq!(effective("backend", &["--backend", "c:1"]), "backend = [\"c:1\"] # flag");
}

#[test]
fn the_program_without_a_file_is_as_before() {
    let place = Place::new("timeout = \"2s\"");
    // A file by that name is not read unasked.
    let text = success(place.run(&["check-config", "--print"], &[]));
    assert!(text.starts_with("# without a file: ok\n"), "{text}");
    assert!(text.contains("\ntimeout = \"30s\" # default\n"), "{text}");
    assert!(!text.contains("# file"), "{text}");
}

#[test]
fn the_file_is_named_by_flag_or_variable_or_alone() {
    let place = Place::new("");
    for (arguments, variables) in [
        (&["check-config", "tfbridge.toml"][..], &[][..]),
        (&["check-config", "tfbridge.toml"], &[("TFBRIDGE_CONFIG", "nowhere.toml")]),
        (&["check-config", "--config", "tfbridge.toml"], &[]),
        (&["check-config", "--config", "tfbridge.toml"], &[("TFBRIDGE_CONFIG", "nowhere.toml")]),
        (&["check-config"], &[("TFBRIDGE_CONFIG", "tfbridge.toml")]),
        (&["--log", "serve", "check-config", "--", "tfbridge.toml"], &[]),
    ] {
        assert_eq!(success(place.run(arguments, variables)), "tfbridge.toml: ok\n", "{arguments:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let check = |text: &str, expected: &str| {
        let place = Place::new(text);
        let expected = format!("error: tfbridge.toml: {expected}");
        assert_eq!(failure(place.run(&["check-config", "tfbridge.toml"], &[])), expected, "{text}");
        assert_eq!(failure(place.run(&["serve", "--config", "tfbridge.toml"], &[])), expected, "{text}");
    };
    check(
        "# sizes\n\nmax-body-sze = \"64MiB\"",
        "line 3: unknown key \"max-body-sze\"; did you mean \"max-body-size\"?",
    );
    check("MAX_BODY_SIZE = 1", "line 1: unknown key \"MAX_BODY_SIZE\"; did you mean \"max-body-size\"?");
    check("zzz = 1", "line 1: unknown key \"zzz\"");
    check("config = \"x\"", "line 1: unknown key \"config\"");
    check("[upstream]\nretries = 1", "line 1: unknown key \"upstream\"");
    check("timeout = \"1s\"\ntimeout = \"2s\"", "line 2: duplicate key");
    check("max-attempts = 1\nmax_attempts = 2", "line 2: duplicate key \"max-attempts\"");
    check(
        "timeout = \"soon\"",
        "line 1: \"timeout\" cannot be \"soon\": expected number at 0 (expected: TIME such as \"30s\")",
    );
    check("pretty = \"yes\"", "line 1: \"pretty\" cannot be of type string (expected: true or false)");
    check("backend-ca = true", "line 1: \"backend-ca\" cannot be of type boolean (expected: FILE)");
    check("backend-ca = 5", "line 1: \"backend-ca\" cannot be of type integer (expected: FILE)");
    check(
        "timeout = [\"1s\"]",
        "line 1: \"timeout\" cannot be of type array (expected: TIME such as \"30s\")",
    );
    check(
        "timeout.first = \"1s\"",
        "line 1: \"timeout\" cannot be of type table (expected: TIME such as \"30s\")",
    );
    check(
        "connections = 300",
        "line 1: \"connections\" cannot be \"300\": 300 is not in 1..=256 (expected: COUNT such as \"2\")",
    );
    check(
        "nan = \"nul\"",
        "line 1: \"nan\" cannot be \"nul\" (expected: \"literal\", \"null\", \"string\", \"error\")",
    );
    check(
        "return-header = [\n  \"x-a\",\n  \"te\",\n]",
        "line 3: \"return-header\" cannot be \"te\": that header belongs to the protocol (expected: NAME \
         such as \"x-request-id\", or a list)",
    );
    check(
        "backend = []",
        "line 1: \"backend\" cannot be an empty list (expected: URL such as \"http://127.0.0.1:8500\", or a list)",
    );
    check("nothing", "line 1: key with no value, expected `=`");
}

#[test]
fn mistakes_in_routes_are_told_with_their_place() {
    let check = |lines: &str, expected: &str| {
        // The three lines before are good.
        let place = Place::new(&format!("[[route]]\nmodel = \"m\"\npath = \"/predict\"\n{lines}"));
        let message = failure(place.run(&["check-config", "tfbridge.toml"], &[]));
        assert_eq!(message, format!("error: tfbridge.toml: {expected}"), "{lines}");
    };
    check("inputkey = \"x\"", "line 4: unknown key \"inputkey\" in [[route]]; did you mean \"input-key\"?");
    check("zzz = 1", "line 4: unknown key \"zzz\" in [[route]]");
    check("input_key = \"a\"\ninput-key = \"b\"", "line 5: duplicate key \"input-key\"");
    check("version = 1\nlabel = \"a\"", "line 5: \"version\" and \"label\" exclude each other in [[route]]");
    check("version = -1", "line 4: \"version\" in [[route]] cannot be -1 (expected: a number from 0)");
    check(
        "label = \"\"",
        "line 4: \"label\" in [[route]] cannot be \"\" (expected: a label such as \"stable\")",
    );
    check(
        "signature = 5",
        "line 4: \"signature\" in [[route]] cannot be 5 (expected: the name of a signature)",
    );
    check(
        "format = \"rows\"",
        "line 4: \"format\" in [[route]] cannot be \"rows\" (expected: \"columnar\", \"row\", \"single\")",
    );
    check("fixed = 5", "line 4: \"fixed\" in [[route]] cannot be 5 (expected: a table of values by input)");
    check("[route.fixed]\nx = [1,\n  1979-05-27]", "line 6: \"fixed\" in [[route]] cannot have a time");
    check(
        "fixed = { x = 9223372036854775808 }",
        "line 4: \"fixed\" in [[route]] cannot have a number beyond 64 bits",
    );
    check(
        "[route.outputs]\ny = 5",
        "line 4: \"outputs\" in [[route]] cannot be { y = 5 } (expected: a table of names by output)",
    );
    check(
        "outputs = {}",
        "line 4: \"outputs\" in [[route]] cannot be {} (expected: a table of names by output)",
    );
    check("outputs = { y = \"a\", z = \"a\" }", "line 4: two \"outputs\" have the name \"a\"");
    check(
        "[[route]]\nmodel = \"n\"",
        "line 4: \"path\" is missing in [[route]] (expected: a path such as \"/predict\")",
    );
    check(
        "[[route]]\npath = \"/p\"",
        "line 4: \"model\" is missing in [[route]] (expected: the name of a model)",
    );
    check(
        "[[route]]\nmodel = \"n\"\npath = \"/predict\"",
        "line 6: there is another [[route]] with the path \"/predict\"",
    );
    check(
        "[[route]]\nmodel = \"n\"\npath = \"/v1/models/n\"",
        "line 6: \"path\" cannot be \"/v1/models/n\": the bridge has /v1 itself",
    );
    for (text, expected) in [
        ("route = 5", "line 1: \"route\" is a list of tables, each under [[route]]"),
        ("[route]\npath = \"/p\"", "line 1: \"route\" is a list of tables, each under [[route]]"),
        ("route = [5]", "line 1: \"route\" is a list of tables, each under [[route]]"),
        ("[[routes]]\npath = \"/p\"", "line 1: unknown key \"routes\"; did you mean \"route\"?"),
    ] {
        let message = failure(Place::new(text).run(&["check-config", "tfbridge.toml"], &[]));
        assert_eq!(message, format!("error: tfbridge.toml: {expected}"), "{text}");
    }
}

#[test]
fn routes_are_printed_as_the_file_has_them() {
    let place = Place::new(
        "timeout = \"2s\"\n[[route]]\nreply_key = \"out\"\nmodel = \"m\"\npath = \"/p\"\nversion = 3\n[route.fixed]\n\
         x = [[1, 2.0], [inf, -0.25]]\ns = { b64 = \"YQ==\" }\n[[route]]\npath = \"/q\"\nmodel = \"m\"\n\
         outputs = { \"a b\" = \"c\" }\n",
    );
    let print = || success(place.run(&["check-config", "tfbridge.toml", "--print"], &[]));
    let printed = print();
    let tables = "\n\n[[route]] # file\npath = \"/p\"\nmodel = \"m\"\nversion = 3\nreply-key = \"out\"\n\
                  fixed = { s = { b64 = \"YQ==\" }, x = [[1, 2.0], [inf, -0.25]] }\n\n[[route]] # file\n\
                  path = \"/q\"\nmodel = \"m\"\noutputs = { \"a b\" = \"c\" }\n";
    assert!(printed.ends_with(tables), "{printed}");
    let config = place.command_line(&[]).config().unwrap();
    let routes = |config: &Config| config.api.routes.iter().cloned().collect::<Vec<_>>();
    let first = &routes(&config)[0];
    assert_eq!(first.mapping.fixed["x"], "[[1,2.0],[Infinity,-0.25]]");
    assert_eq!(first.mapping.fixed["s"], r#"{"b64":"YQ=="}"#);
    assert_eq!(
        config.settings["route"][1],
        serde_json::json!({"path": "/q", "model": "m", "outputs": {"a b": "c"}})
    );
    // It is a file that says the same.
    place.write(&printed);
    assert_eq!(routes(&place.command_line(&[]).config().unwrap()), routes(&config));
}

#[test]
fn the_example_of_a_route_is_one() {
    let example = fs::read_to_string("deploy/tfbridge.toml").unwrap();
    let (_, block) = example.split_once("# [[route]]\n").unwrap();
    let lines = block.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(" = "));
    let place = Place::new(&lines.fold("[[route]]\n".to_owned(), |text, line| text + line + "\n"));
    success(place.run(&["check-config", "tfbridge.toml"], &[]));
    let config = place.command_line(&[]).config().unwrap();
    let route = config.api.routes.get("/predict").unwrap();
    assert_eq!(route.mapping.input_key.as_deref(), Some("input"));
    assert_eq!(route.mapping.outputs["y"], "result");
}

#[test]
fn a_bad_value_is_told_even_where_a_flag_counts_for_more() {
    let place = Place::new("timeout = \"soon\"");
    let message = failure(place.run(&["check-config", "tfbridge.toml", "--timeout", "1s"], &[]));
    assert!(message.starts_with("error: tfbridge.toml: line 1: \"timeout\""), "{message}");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let place = Place::new("");
    let message = failure(place.run(&["serve", "--config", "nowhere.toml"], &[]));
    assert!(message.starts_with("error: nowhere.toml: cannot be read: No such file"), "{message}");
    fs::write(place.path(), b"log = \"\xff\"").unwrap();
    let message = failure(place.run(&["serve", "--config", "tfbridge.toml"], &[]));
    assert!(message.starts_with("error: tfbridge.toml: cannot be read: "), "{message}");
}

/// A certificate is of no use without its key, wherever each of them comes from.
#[test]
fn settings_that_need_each_other_may_come_from_anywhere() {
    let certificate = Place::new("backend-cert = \"cert.pem\"");
    let empty = Place::new("");
    let check = |place: &Place, flags: &[&str], variables: &[(&str, &str)]| {
        place.run(&[&["check-config", "tfbridge.toml"], flags].concat(), variables)
    };
    let key = ["--backend-key", "key.pem"];
    assert!(failure(check(&certificate, &[], &[])).contains("--backend-key"));
    assert!(failure(check(&empty, &key, &[])).contains("--backend-cert"));
    assert!(failure(check(&empty, &[], &[("TFBRIDGE_BACKEND_KEY", "key.pem")])).contains("--backend-cert"));
    success(check(&certificate, &key, &[]));
    success(check(&certificate, &[], &[("TFBRIDGE_BACKEND_KEY", "key.pem")]));
    certificate.write("backend-cert = \"cert.pem\"\nbackend-key = \"key.pem\"");
    success(check(&certificate, &[], &[]));
}

#[test]
fn files_that_the_configuration_names_are_checked() {
    let place = Place::new("signature-file = \"signatures.json\"");
    let check = || place.run(&["check-config", "tfbridge.toml"], &[]);
    assert!(failure(check()).starts_with("error: The signature file signatures.json cannot be used"));
    fs::write(place.0.path().join("signatures.json"), "{}").unwrap();
    success(check());
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let settings =
        "backend = [\"a:1\"]\npretty = true\nretry-budget = 0.5\nmax-body-size = 1_000\nlog = \"debug\"";
    let place = Place::new(settings);
    let print = || success(place.run(&["check-config", "tfbridge.toml", "--print"], &[]));
    let printed = print();
    assert!(printed.contains("\nmax-body-size = 1000 # file\n"), "{printed}");
    place.write(&printed);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&print()), values(&printed));
}

#[test]
fn the_example_has_every_flag_with_its_default() {
    let example = success(run(Path::new("."), &["check-config", "--example"], &[]));
    let path = "deploy/tfbridge.toml";
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        example,
        "write it anew: cargo run -- check-config --example > {path}"
    );
    let key = |line: &str| line.strip_prefix('#')?.split_once(" = ").map(|(key, _)| key.to_owned());
    let keys: Vec<_> = example.lines().filter(|line| !line.starts_with("# ")).filter_map(key).collect();
    let help = success(run(Path::new("."), &["serve", "--help"], &[]));
    let mut flags = 0;
    for line in help.lines().filter_map(|line| line.trim_start().strip_prefix("--")) {
        let flag = line.split([' ', '[']).next().unwrap();
        assert!(flag == "config" || keys.iter().any(|key| key == flag), "{flag}");
        flags += 1;
    }
    assert_eq!(keys.len() + 1, flags);

    // Without the comments it changes nothing.
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') && !setting.ends_with("# not set") => {
            format!("{setting}\n")
        }
        _ => String::new(),
    };
    let place = Place::new(&example.lines().map(uncommented).collect::<String>());
    let printed = success(place.run(&["check-config", "tfbridge.toml", "--print"], &[]));
    let defaults = success(place.run(&["check-config", "--print"], &[]));
    let settings = |text: &str| text.split_once('\n').unwrap().1.replace("# file", "# default");
    assert_eq!(settings(&printed), settings(&defaults));
    assert!(!printed.contains("# default"), "{printed}");
}

#[test]
fn the_configuration_can_be_read_again() {
    let place = Place::new("timeout = \"2s\"\nmax-body-size = 1000");
    let command_line = place.command_line(&["--max-body-size", "2000"]);
    let config = command_line.config().unwrap();
    assert_eq!((config.api.timeout, config.api.max_body_size), (Duration::from_secs(2), 2000));

    place.write("timeout = \"3s\"\nmax-body-size = 1000\ncors = true");
    let config = command_line.config().unwrap();
    assert_eq!((config.api.timeout, config.api.max_body_size), (Duration::from_secs(3), 2000));
    assert!(config.api.cors);

    for (bad, expected) in [
        ("timout = \"3s\"", "line 1: unknown key \"timout\"; did you mean \"timeout\"?"),
        (
            "backend-key = \"key.pem\"",
            "the following required arguments were not provided: --backend-cert <FILE>",
        ),
    ] {
        place.write(bad);
        let error = command_line.config().unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.message(), format!("{}: {expected}", place.path().display()));
    }

    place.write("");
    assert_eq!(command_line.config().unwrap().api.timeout, Duration::from_secs(30));
    fs::remove_file(place.path()).unwrap();
    assert!(command_line.config().unwrap_err().message().contains("cannot be read"));
}

#[test]
fn the_collector_may_be_in_the_variable_of_opentelemetry() {
    let place = Place::new("");
    let check = |value: &str| place.run(&["check-config"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]);
    success(check("http://collector:4317"));
    success(check(""));
    let output = check("collector:4317");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
}
