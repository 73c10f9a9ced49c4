//! Indented JSON from compact JSON, for people.
//!
//! Objects take a line per member and lists of lists a line per item; lists without lists or
//! objects inside stay on one line, so that a vector of numbers does not fill a screen.

/// Indents JSON that this crate has written.
#[must_use]
pub fn indent(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    // For each open container: whether it is broken into lines.
    let mut open: Vec<bool> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = compact.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                let is_empty = compact.get(at).is_some_and(|next| matches!(next, b'}' | b']'));
                let broken = !is_empty && (byte == b'{' || holds_containers(&compact[at..]));
                open.push(broken);
                if broken {
                    new_line(&mut out, open.len());
                }
            }
            b'}' | b']' => {
                if open.pop() == Some(true) {
                    new_line(&mut out, open.len());
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                if open.last() == Some(&true) {
                    new_line(&mut out, open.len());
                } else {
                    out.push(b' ');
                }
            }
            b':' => out.extend_from_slice(b": "),
            b'"' => {
                at = string_end(compact, start);
                out.extend_from_slice(&compact[start..at]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'\n');
    out
}

/// The deepest level that is indented further than the one above it: spaces must not outgrow
/// the JSON by more than a constant.
const MAX_DEPTH: usize = 12;

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 4 * depth.min(MAX_DEPTH), b' ');
}

/// Whether a list, whose inside starts here, has a list or an object in it.
fn holds_containers(inside: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        match byte {
            b'[' | b'{' => return true,
            b']' => return false,
            b'"' => at = string_end(inside, at),
            _ => at += 1,
        }
    }
    false
}

/// Where the string that starts here ends, behind its closing quote.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}
