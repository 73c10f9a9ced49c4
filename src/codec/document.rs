//! The outermost object of a body: its members in order, and the members all verbs share.

use super::fault::Fault;
use super::limits::Limits;
use super::reader::Reader;

/// Reads the body's outermost object. `visit` gets each member's name and reads its value.
///
/// Whatever follows the object is not looked at, as in the original.
pub(crate) fn members<'a>(
    body: &'a [u8],
    limits: &'a Limits,
    mut visit: impl FnMut(&mut Reader<'a>, &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::new(body, limits);
    let first = reader.peek();
    let start = reader.at;
    if start >= body.len() {
        return reader.fault("The document is empty.");
    }
    if first != b'{' {
        reader.skip_value()?;
        let value = super::fault::Value::at(body, start);
        return Err(Fault::text(start, format!("JSON Value: {} Is not object", value.text)));
    }
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        reader.peek();
        visit(&mut reader, key.bytes(body))?;
        more = reader.next_member()?;
    }
    Ok(())
}

/// The member `signature_name`. The first one counts.
#[derive(Debug, Default)]
pub(crate) struct SignatureName {
    name: Option<String>,
    fault: Option<Fault>,
    /// What it is without the member.
    default: String,
}

impl SignatureName {
    /// The name that counts where the body has none.
    pub(crate) fn or(default: &str) -> Self {
        Self { default: default.to_owned(), ..Self::default() }
    }

    /// Reads the member's value; one that is no string is remembered, not reported, since a
    /// syntax error further on comes first.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let start = reader.at;
        let is_first = self.name.is_none() && self.fault.is_none();
        if reader.byte() == b'"' {
            let text = reader.string()?;
            if is_first {
                self.name = Some(String::from_utf8_lossy(text.bytes(reader.bytes)).into_owned());
            }
            return Ok(());
        }
        reader.skip_value()?;
        if is_first {
            let value = super::fault::Value::at(reader.bytes, start);
            let text = format!(
                "JSON Value: {} not formatted correctly. 'signature_name' key must be a string value.",
                value.text
            );
            self.fault = Some(Fault::text(start, text));
        }
        Ok(())
    }

    /// The name as far as the body has been read; the default, which is empty, if there is none.
    pub(crate) fn so_far(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.default)
    }

    /// The name, which is the reader's from then on.
    pub(crate) fn take(&mut self) -> Result<String, Fault> {
        std::mem::take(self).finish()
    }

    /// The name, the default if there is none.
    pub(crate) fn finish(self) -> Result<String, Fault> {
        self.fault.map_or_else(|| Ok(self.name.unwrap_or(self.default)), Err)
    }
}

/// The most strings of a list: each takes many times as much memory as its text, and no signature has as many
/// outputs.
const MOST_STRINGS: usize = 4096;

/// Reads a list of strings, such as `output_filter`. A value that is no list at all is `None`.
pub(crate) fn string_list(reader: &mut Reader<'_>, name: &str) -> Result<Option<Vec<String>>, Fault> {
    let start = reader.clone();
    if reader.byte() != b'[' {
        reader.skip_value()?;
        return Ok(None);
    }
    let mut strings = Vec::new();
    let mut more = reader.open_array()?;
    while more {
        if reader.peek() != b'"' {
            *reader = start.clone();
            reader.skip_value()?;
            return Err(Fault::text(start.at, format!("'{name}' must be a list of strings")));
        }
        if strings.len() == MOST_STRINGS {
            *reader = start.clone();
            reader.skip_value()?;
            return Err(Fault::text(start.at, format!("'{name}' has more than {MOST_STRINGS} names")));
        }
        strings.push(String::from_utf8_lossy(reader.string()?.bytes(reader.bytes)).into_owned());
        more = reader.next_element()?;
    }
    Ok(Some(strings))
}
