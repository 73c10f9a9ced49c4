//! What `/statusz` shows: all that an operator may want to know of a bridge at one glance.
//!
//! There are no secrets in it, and no more of anything than a page can hold.

use serde_json::{Value, json};

use super::activity;
use super::front::Front;

/// How many models are listed whose signatures are known.
const MOST_MODELS: usize = 100;

/// The state of the bridge now.
pub(super) fn status(front: &Front) -> Value {
    let state = front.state();
    let bridge = &state.bridge;
    let (known, models) = bridge.known_signatures(MOST_MODELS);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("TFBRIDGE_COMMIT"),
        "uptime_seconds": activity::uptime().as_secs(),
        "connections": front.crowd.len(),
        "memory_held": bridge.memory_held(),
        "backends": bridge.endpoints(),
        "signatures": { "known": known, "models": models },
        "config": state.settings,
    })
}
