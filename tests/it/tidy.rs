//! House rules that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

/// Nothing grows beyond this many lines; most files are far below.
const MAX_LINES: usize = 500;

/// Which of our modules a module may import, the lower layers first. What is in the same line
/// may import each other; `error` and `proto` are open to all.
const LAYERS: [&[&str]; 6] = [
    &["codec", "route", "config", "record", "metrics"],
    &["upstream", "telemetry"],
    &["signature"],
    &["handler"],
    &["server", "mock"],
    &["cli"],
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The module of the top level that a file belongs to.
fn module(path: &Path) -> String {
    let first = path.strip_prefix("src").unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for path in sources(Path::new("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= MAX_LINES, "{} is too long", path.display());
        assert!(text.starts_with("//! "), "{} has no header", path.display());
        assert!(!path.ends_with("mod.rs"), "{} should be named after its module", path.display());
    }
}

#[test]
fn modules_import_lower_layers_only() {
    let mut imports = 0;
    for path in sources(Path::new("src")) {
        let from = module(&path);
        let Some(from_layer) = layer(&from) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        // Tests at the end of a file may use what they like.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for import in code.match_indices("crate::").map(|(at, prefix)| &code[at + prefix.len()..]) {
            let to: String = import
                .chars()
                .take_while(|character| character.is_alphanumeric() || *character == '_')
                .collect();
            let Some(to_layer) = layer(&to) else { continue };
            imports += 1;
            assert!(to_layer <= from_layer, "{} imports {to}", path.display());
            if from == "codec" {
                assert_eq!(to, "codec", "{} imports {to}", path.display());
            }
        }
    }
    assert!(imports > 30, "{imports}");
}

#[test]
fn the_codec_is_pure() {
    for path in sources(Path::new("src")).iter().filter(|path| module(path) == "codec") {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for outside in ["tokio", "hyper", "tracing", "http::", "std::net", "std::fs", "std::env"] {
                assert!(!line.contains(outside), "{}: {line}", path.display());
            }
        }
    }
}
