//! Runs attacks one after the other and judges what became of the bridge and its honest clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::attack::{Answers, Attack};
use crate::honest::{Fare, Honest};
use crate::process::Bridge;

/// How long an attack lasts at least: a round, or long enough for a percentile where that counts.
const ATTACK: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// How long the honest clients are left alone between two attacks.
const REST: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(150)];

/// How long they are alone before the first one.
const FIRST_REST: Duration = Duration::from_secs(3);

/// How many light attacks of an area run beside each other.
const BESIDE: usize = 8;

/// Latencies are compared with the larger of this and the honest clients' own: below it the
/// scheduler of a busy machine decides.
const FLOOR: Duration = Duration::from_millis(2);

/// How much slower honest requests may become, at the 99th percentile.
const MOST_TIMES: f64 = 3.0;

/// How often an attack may be repeated that made them slower than that, since other work on the
/// machine does the same.
const TRIES: usize = 3;

/// The most memory that an attack may make the bridge take, in MiB: two and a half times what
/// `--max-memory` says here. It counts a body once that is copied while it grows, and not what the
/// allocator is slow to give back.
const BUDGET: usize = 640;

/// What must be left of it in the end, in MiB.
const BUDGET_AFTERWARDS: usize = 256;

/// Attacks at work on a bridge.
pub struct Table<'a> {
    bridge: &'a mut Bridge,
    honest: Honest,
    runtime: Runtime,
    /// Whether latencies count.
    is_strict: bool,
    failures: Vec<String>,
    /// How the honest clients fare alone, lately.
    alone: Duration,
}

impl<'a> Table<'a> {
    /// Runs attacks and returns what went wrong.
    pub fn run(bridge: &'a mut Bridge, attacks: &[Attack], relief: Duration) -> Vec<String> {
        let filter = std::env::var("TFBRIDGE_ATTACKS_ONLY").unwrap_or_default();
        let chosen = |attack: &&Attack| attack.name.contains(&filter) || attack.area == filter;
        let attacks: Vec<_> = attacks.iter().filter(chosen).collect();
        if attacks.is_empty() {
            return Vec::new();
        }
        let honest = Honest::start(&bridge.transport);
        let is_strict = std::env::var("TFBRIDGE_ATTACKS").is_ok_and(|value| value == "strict");
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if is_strict {
            builder.on_thread_start(lower_priority);
        }
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let mut table =
            Self { bridge, honest, runtime, is_strict, failures: Vec::new(), alone: Duration::ZERO };
        table.rest(FIRST_REST);
        println!("honest p99 alone: {:?}", table.alone);
        println!("{HEAD}");
        let mut slow = Vec::new();
        let mut light: Vec<Attack> = Vec::new();
        for attack in attacks {
            if !table.bridge.knows(attack.needs) {
                println!("{:<12}{}: skipped, this build lacks {:?}", attack.area, attack.name, attack.needs);
                continue;
            }
            let mut attack = attack.clone();
            attack.prepare();
            if attack.is_slow {
                slow.push(attack);
                continue;
            }
            if light.len() == BESIDE || light.first().is_some_and(|first| first.area != attack.area) {
                table.attack(&std::mem::take(&mut light));
            }
            if attack.is_light() {
                light.push(attack.attackers(1));
            } else {
                table.attack(&[attack]);
            }
        }
        table.attack(&light);
        table.attack(&slow);
        table.end(relief);
        table.failures
    }

    /// Runs attacks beside each other.
    fn attack(&mut self, attacks: &[Attack]) {
        if attacks.is_empty() {
            return;
        }
        let names = attacks.iter().map(|attack| attack.name).collect::<Vec<_>>().join("; ");
        for attempt in 1..=TRIES {
            self.rest(REST[usize::from(self.is_strict)]);
            self.bridge.forget_peak();
            let start = Instant::now();
            let at_least = ATTACK[usize::from(self.is_strict)];
            let all = self.runtime.block_on(run_all(attacks, self.bridge.address(), at_least));
            let fare = self.honest.between(start, Instant::now());
            let (now, peak) = self.bridge.memory();
            let base = self.alone.max(FLOOR);
            let times = fare.percentile(99).as_secs_f64() / base.as_secs_f64();
            println!("{}", honest_row(start.elapsed(), &fare, times, now, peak));
            for (attack, answers) in attacks.iter().zip(&all) {
                println!("{:<12}{:<52} {answers}", attack.area, attack.name);
                for wrong in attack.wrong(answers) {
                    self.fail(format!("{}: {}: answered {wrong:?}", attack.area, attack.name));
                }
            }
            if let Some(failure) = fare.failures.first() {
                let count = fare.failures.len();
                self.fail(format!("{names}: {count} honest requests failed: {failure}"));
            }
            if fare.requests == 0 && start.elapsed() > Duration::from_secs(1) {
                self.fail(format!("{names}: no honest request came through"));
            }
            if peak > BUDGET {
                self.fail(format!("{names}: {peak} MiB"));
            }
            if !self.bridge.is_running() {
                self.fail(format!("{names}: the bridge has ended: {}", self.bridge.errors()));
            }
            if !self.is_strict || times <= MOST_TIMES {
                return;
            }
            if attempt == TRIES {
                self.fail(format!("{names}: honest requests took {times:.1} times as long"));
            }
        }
    }

    fn fail(&mut self, failure: String) {
        println!("  ! {failure}");
        self.failures.push(failure);
    }

    /// Leaves the honest clients alone and learns how they fare then.
    fn rest(&mut self, time: Duration) {
        let start = Instant::now();
        std::thread::sleep(time);
        let fare = self.honest.between(start, Instant::now());
        if let Some(failure) = fare.failures.first() {
            self.failures.push(format!("an honest request failed without an attack: {failure}"));
        }
        // A single rest is too short for a percentile: the largest part of it is what was known.
        let p99 = fare.percentile(99);
        self.alone = if self.alone.is_zero() { p99 } else { (4 * self.alone + p99) / 5 };
    }

    /// Judges what is left when all is over.
    fn end(&mut self, relief: Duration) {
        let start = Instant::now();
        loop {
            let (now, _) = self.bridge.memory();
            if now <= BUDGET_AFTERWARDS {
                println!("{now} MiB are left {:?} after the attacks", start.elapsed());
                break;
            }
            if start.elapsed() > relief {
                self.failures.push(format!("{now} MiB are left after the attacks"));
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let errors = self.bridge.errors();
        if errors.contains("panicked") {
            self.failures.push(format!("the bridge has panicked: {errors}"));
        }
    }
}

async fn run_all(attacks: &[Attack], bridge: SocketAddr, at_least: Duration) -> Vec<Answers> {
    let mut running = Vec::new();
    for attack in attacks {
        let attack = attack.clone();
        running.push(tokio::spawn(async move { attack.run(bridge, at_least).await }));
    }
    let mut all = Vec::new();
    for attack in running {
        all.push(attack.await.unwrap());
    }
    all
}

const HEAD: &str =
    "  seconds  honest requests  failed  p50 ms  p99 ms  times  MiB  peak, and the answers of these attacks:";

fn honest_row(time: Duration, fare: &Fare, times: f64, now: usize, peak: usize) -> String {
    let milliseconds = |percent| fare.percentile(percent).as_secs_f64() * 1e3;
    format!(
        "{:>9.1}{:>17}{:>8}{:>8.2}{:>8.2}{times:>7.1}{now:>5}{peak:>6}",
        time.as_secs_f64(),
        fare.requests,
        fare.failures.len(),
        milliseconds(50),
        milliseconds(99),
    )
}

/// Gives this thread the lowest priority there is.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    let _ = rustix::process::setpriority_process(Some(thread), 19);
}
