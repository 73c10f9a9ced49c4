//! A table of attacks on the real program, while honest clients go on beside them.
//!
//! `cargo test --test attacks` runs it: every attack must get an answer that is right for it, the
//! honest clients must not see a single failure, and the memory of the bridge must stay within its
//! budget and come back down. `tests/attacks/run` runs it on a release build and holds the latency
//! of the honest clients against that without an attack, too.
//!
//! Where latency counts, the attackers' threads have the lowest priority: elsewhere they would have
//! machines of their own.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::too_many_lines,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking, and its tables are as long as they are"
)]

mod areas;
mod attack;
#[path = "../it/certificates.rs"]
#[expect(dead_code, reason = "what it shares with the integration tests is more than is needed here")]
mod certificates;
mod connection;
mod honest;
mod http1;
mod http2;
mod process;
mod table;

use std::time::Duration;

use process::{Bridge, Mock};
use table::Table;

/// How long the bridge may take to give memory back when the attacks are over.
const RELIEF: Duration = Duration::from_secs(10);

#[test]
fn attacks_hurt_nobody_else() {
    let mut mock = Mock::start();
    let mut plain = Bridge::plain(&mock);
    let mut failures = Table::run(&mut plain, &areas::plain(), RELIEF);
    match Bridge::tls(&mock) {
        Some(mut bridge) => failures.extend(Table::run(&mut bridge, &areas::tls::attacks(), RELIEF)),
        None => println!("no attacks on TLS: this build has none"),
    }
    assert!(mock.is_running(), "the mock has ended");
    assert!(failures.is_empty(), "{}\n{} failures", failures.join("\n"), failures.len());
}
