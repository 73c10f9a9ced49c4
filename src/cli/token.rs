//! `tfbridge token`: makes a token, and the entry with its hash for `--auth-file`.

use std::io::{Read as _, Write as _};

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::error::{Error, Result};
use crate::server::auth::{self, file};

/// What tokens begin with, so that they are known when they turn up where they should not.
const PREFIX: &str = "tfb_";

/// The fewest characters of a token that others have made: 128 random bits in base64.
const SHORTEST: usize = 22;

/// The most bytes of one: it must fit a header.
const LONGEST: u64 = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The name of the token in the log. It is made from its hash without this.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Read a token that there is already from the standard input, and print its entry only.
    #[arg(long)]
    hash: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let token = if arguments.hash { read(std::io::stdin().lock())? } else { random()? };
    let entry = entry(&token, arguments.name)?;
    let text = if arguments.hash {
        entry
    } else {
        // The token is no comment, so that a file that all of this is pasted into is refused.
        format!("{token}\n\n{entry}")
    };
    // Which is which goes where scripts do not read it.
    let _ = writeln!(
        std::io::stderr(),
        "{}the [[token]] entry is for the file of --auth-file",
        if arguments.hash { "" } else { "The first line is for the client and shown this once; " }
    );
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::internal("The token cannot be printed").with_source(error))
}

fn random() -> Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("The system has no random numbers"))?;
    Ok(format!("{PREFIX}{}", BASE64.encode_to_string(bytes)))
}

fn read(input: impl std::io::Read) -> Result<String> {
    let mut token = String::new();
    input
        .take(LONGEST + 2)
        .read_to_string(&mut token)
        .map_err(|error| Error::invalid_argument(format!("The token cannot be read: {error}")))?;
    let token = token.trim_ascii_end();
    if !(SHORTEST as u64..=LONGEST).contains(&(token.len() as u64)) {
        return Err(Error::invalid_argument(format!(
            "A token has {SHORTEST} to {LONGEST} characters: shorter ones can be found by trying"
        )));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid_argument(
            "A token is made of characters that a header may have, without spaces",
        ));
    }
    Ok(token.to_owned())
}

fn entry(token: &str, name: Option<String>) -> Result<String> {
    let sha256 = file::to_hex(&auth::hash(token.as_bytes()));
    let name = name.unwrap_or_else(|| format!("token-{}", sha256.get(..8).unwrap_or_default()));
    if !file::is_name(&name) {
        return Err(Error::invalid_argument(
            "--name: a name has 1 to 100 characters that can be printed, but for \" and \\",
        ));
    }
    Ok(format!("[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_and_long() {
        let (one, two) = (random().unwrap(), random().unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 43, "{one}");
    }

    #[test]
    fn tokens_of_others_are_checked() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(read(text.as_bytes()).ok().as_deref(), expected, "{text:?}");
        };
        check("0123456789abcdef012345\r\n", Some("0123456789abcdef012345"));
        check("0123456789abcdef01234", None);
        check("0123456789 abcdef012345", None);
        check("0123456789abcdef0123é5", None);
        check(&"x".repeat(4097), None);
        check("", None);
    }
}
