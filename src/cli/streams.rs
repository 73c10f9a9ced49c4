//! The flags for bodies of lines that are answered while they arrive.

use super::serve::size;
use crate::config::StreamConfig;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
pub(super) struct StreamArguments {
    /// How many lines of an NDJSON body go to the model server in one call.
    #[arg(long, env = "TFBRIDGE_STREAM_BATCH", default_value_t = 256, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    stream_batch: u16,
    /// How many such calls of one request are under way at once.
    #[arg(long, env = "TFBRIDGE_STREAM_WINDOW", default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    stream_window: u16,
    /// How many bytes of predictions may wait for a client that still sends and does not read yet. With
    /// more of them the rest of its body has to wait.
    #[arg(long, env = "TFBRIDGE_STREAM_BUFFER", default_value = "64MiB", value_name = "SIZE", value_parser = size)]
    stream_buffer: usize,
    /// The most bytes of a line of an NDJSON body.
    #[arg(long, env = "TFBRIDGE_STREAM_MAX_LINE", default_value = "16MiB", value_name = "SIZE", value_parser = size)]
    stream_max_line: usize,
}

impl StreamArguments {
    /// The configuration that they stand for.
    pub(super) fn into_config(self) -> StreamConfig {
        StreamConfig {
            batch: self.stream_batch.into(),
            window: self.stream_window.into(),
            buffer: self.stream_buffer.max(1),
            max_line: self.stream_max_line,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        streams: StreamArguments,
    }

    #[test]
    fn the_defaults_are_those_of_the_configuration() {
        let parse = |arguments: &[&str]| Command::try_parse_from(["tfbridge"].iter().chain(arguments));
        assert_eq!(parse(&[]).unwrap().streams.into_config(), StreamConfig::default());
        for bad in ["--stream-batch=0", "--stream-window=0", "--stream-buffer=much"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
