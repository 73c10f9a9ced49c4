//! The flags about how much is worked on at once, and how much memory that may take.

use std::time::Duration;

use super::serve::{limit, size, time};
use crate::config::ApiConfig;

/// How much is worked on at once.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArguments {
    /// The most bytes of a request body, as sent and after decompression.
    #[arg(long, env = "TFBRIDGE_MAX_BODY_SIZE", default_value = "256MiB", value_name = "SIZE", value_parser = size)]
    max_body_size: usize,
    /// How many times larger decompression may make a body that comes to more than 1 MiB.
    #[arg(long, env = "TFBRIDGE_MAX_INFLATE_RATIO", default_value_t = 200, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    max_inflate_ratio: u16,
    /// The most bytes of a reply: of the model server's message, and of the JSON made from it.
    #[arg(long, env = "TFBRIDGE_MAX_RESPONSE_SIZE", default_value = "1GiB", value_name = "SIZE", value_parser = size)]
    max_response_size: usize,
    /// The most bytes of memory for the bodies, tensors and replies of all requests together.
    #[arg(long, env = "TFBRIDGE_MAX_MEMORY", default_value = "2GiB", value_name = "SIZE", value_parser = size)]
    max_memory: usize,
    /// How many requests to work on at once.
    #[arg(long, env = "TFBRIDGE_MAX_IN_FLIGHT", default_value_t = 1024, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: u32,
    /// How many more requests may wait for their turn.
    #[arg(long, env = "TFBRIDGE_MAX_QUEUE", default_value_t = 256, value_name = "COUNT")]
    max_queue: usize,
    /// How long they wait at most.
    #[arg(long, env = "TFBRIDGE_QUEUE_TIMEOUT", default_value = "1s", value_name = "TIME", value_parser = time)]
    queue_timeout: Duration,
    /// How long a client may take to send 256 KiB of its body, or the rest of it.
    #[arg(long, env = "TFBRIDGE_BODY_TIMEOUT", default_value = "20s", value_name = "TIME", value_parser = limit)]
    body_timeout: Duration,
}

impl LoadArguments {
    /// Puts them into a configuration.
    pub(super) fn apply(self, config: &mut ApiConfig) {
        config.max_body_size = self.max_body_size;
        config.max_inflate_ratio = usize::from(self.max_inflate_ratio);
        config.max_response_size = self.max_response_size;
        config.max_memory = self.max_memory;
        config.max_in_flight = usize::try_from(self.max_in_flight).unwrap_or(usize::MAX);
        config.max_queue = self.max_queue;
        config.queue_timeout = self.queue_timeout;
        config.body_timeout = self.body_timeout;
    }
}
