//! The flags for what a request body may ask for, beyond its size.

use super::serve::size;
use crate::codec::{Limits, MAX_RANK};

#[derive(Debug, clap::Args)]
pub(super) struct LimitArguments {
    /// The most levels of objects and lists in a request body.
    #[arg(long, env = "TFBRIDGE_MAX_DEPTH", default_value_t = 512, value_name = "LEVELS")]
    max_depth: usize,
    /// The most dimensions of a tensor, of which TensorFlow knows at most 254.
    #[arg(long, env = "TFBRIDGE_MAX_RANK", default_value_t = MAX_RANK, value_name = "DIMENSIONS", value_parser = rank)]
    max_rank: usize,
    /// The most elements of a tensor, and the most examples, features and elements of a feature.
    #[arg(long, env = "TFBRIDGE_MAX_ELEMENTS", default_value_t = 268_435_456, value_name = "COUNT")]
    max_elements: usize,
    /// The most bytes of a string element, after its escapes or base64 have been decoded.
    #[arg(long, env = "TFBRIDGE_MAX_STRING_SIZE", default_value = "256MiB", value_name = "SIZE", value_parser = size)]
    max_string_size: usize,
    /// Refuse tensors whose rank or sizes contradict the signature before they get to the model
    /// server. TensorFlow Serving itself leaves it to the model what shapes will do.
    #[arg(long, env = "TFBRIDGE_CHECK_SHAPES")]
    pub(super) check_shapes: bool,
}

impl LimitArguments {
    /// The limits of the codec.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            depth: self.max_depth,
            rank: self.max_rank,
            elements: self.max_elements,
            string_size: self.max_string_size,
            ..Limits::default()
        }
    }
}

fn rank(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rank) if rank <= MAX_RANK => Ok(rank),
        _ => Err(format!("a number up to {MAX_RANK} is expected")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn limits(arguments: &[&str]) -> Result<Limits, clap::Error> {
        let arguments = ["tfbridge"].into_iter().chain(arguments.iter().copied());
        Command::try_parse_from(arguments).map(|command| command.limits.limits())
    }

    #[test]
    fn the_defaults_are_those_of_the_codec() {
        assert_eq!(limits(&[]).unwrap(), Limits::default());
    }

    #[test]
    fn each_flag_sets_its_limit() {
        let arguments = ["--max-depth=1", "--max-rank=2", "--max-elements=3", "--max-string-size=4KiB"];
        let expected = Limits { depth: 1, rank: 2, elements: 3, string_size: 4096, ..Limits::default() };
        assert_eq!(limits(&arguments).unwrap(), expected);
        for bad in ["--max-rank=255", "--max-rank=-1", "--max-depth=x", "--max-string-size=MiB"] {
            assert!(limits(&[bad]).is_err(), "{bad}");
        }
    }
}
