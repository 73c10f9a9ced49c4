//! How far a stream is: a bar on a terminal, else a line now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often there is a line where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// Rates are those of so long a time.
const WINDOW: Duration = Duration::from_secs(5);

/// How far a stream is, for people.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    is_quiet: bool,
    /// The size of the input.
    size: Option<u64>,
    /// When, how many lines and how many bytes there were.
    samples: VecDeque<Sample>,
    /// When there was a line.
    told: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    lines: u64,
    bytes: u64,
}

impl Progress {
    /// The progress through an input of this size, if that is known, of which so many lines are done.
    pub(super) fn new(size: Option<u64>, lines: u64, is_quiet: bool) -> Self {
        let target = if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(size, target);
        let template = if size.is_some() { "{wide_bar} {percent:>3}%  {msg}" } else { "{spinner} {msg}" };
        // What cannot be wrong is as it is without a style.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        let now = Instant::now();
        let samples = [Sample { at: now, lines, bytes: 0 }].into();
        Self { bar, is_quiet, size, samples, told: now }
    }

    /// What has been done before ends at this byte.
    pub(super) fn begin(&mut self, lines: u64, bytes: u64) {
        self.samples = [Sample { at: Instant::now(), lines, bytes }].into();
    }

    /// So many lines, of which some have failed, and so many bytes are done.
    pub(super) fn set(&mut self, lines: u64, failed: u64, bytes: u64) {
        let now = Sample { at: Instant::now(), lines, bytes };
        if self.is_quiet {
            return;
        }
        let message = self.message(now, failed);
        self.samples.push_back(now);
        while self.samples.len() > 2 && self.samples[1].at + WINDOW < now.at {
            self.samples.pop_front();
        }
        if self.bar.is_hidden() {
            if self.told.elapsed() >= INTERVAL {
                self.told = now.at;
                let share = self.size.filter(|size| *size > 0);
                let share = share.map(|size| format!("{}%, ", bytes.min(size) * 100 / size));
                eprintln!("{}{message}", share.unwrap_or_default());
            }
            return;
        }
        self.bar.set_message(message);
        self.bar.set_position(self.size.map_or(bytes, |size| bytes.min(size)));
    }

    fn message(&self, now: Sample, failed: u64) -> String {
        let first = self.samples.front().copied().unwrap_or(now);
        let seconds = now.at.duration_since(first.at).as_secs_f64().max(0.001);
        let (lines, bytes) = (now.lines - first.lines, now.bytes.saturating_sub(first.bytes));
        let mut parts = vec![
            format!("{} lines", now.lines),
            format!("{} lines/s", rate(lines, seconds)),
            format!("{:.1} MB/s", per_second(bytes, seconds) / 1e6),
        ];
        let left = self.size.map(|size| size.saturating_sub(now.bytes));
        if let Some(left) = left.filter(|left| *left > 0 && bytes > 0) {
            let left = per_second(left, per_second(bytes, seconds)).ceil();
            // Nobody waits for more than some years.
            let left = Duration::try_from_secs_f64(left.min(1e9)).unwrap_or_default();
            parts.push(format!("{} left", humantime::format_duration(left)));
        }
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        parts.join(", ")
    }

    /// Says something beside it.
    pub(super) fn say(&self, text: &str) {
        if self.is_quiet {
            return;
        }
        if self.bar.is_finished() {
            eprintln!("{text}");
        } else {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// Leaves what there is to see, and ends.
    pub(super) fn finish(&self) {
        self.bar.abandon();
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

fn rate(lines: u64, seconds: f64) -> String {
    let rate = per_second(lines, seconds);
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// What it was, in the end.
pub(super) fn summary(lines: u64, seconds: f64) -> String {
    format!("{lines} lines in {seconds:.1} s: {} lines/s", rate(lines, seconds.max(0.001)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_fast_it_goes_and_how_long_it_takes() {
        let mut progress = Progress::new(Some(1_000_000), 0, true);
        progress.begin(100, 200_000);
        let now = progress.samples[0].at + Duration::from_secs(2);
        let message = progress.message(Sample { at: now, lines: 300, bytes: 600_000 }, 0);
        assert_eq!(message, "300 lines, 100 lines/s, 0.2 MB/s, 2s left");
        let message = progress.message(Sample { at: now, lines: 101, bytes: 1_000_000 }, 7);
        assert_eq!(message, "101 lines, 0.5 lines/s, 0.4 MB/s, 7 failed");
        assert_eq!(summary(50, 0.5), "50 lines in 0.5 s: 100 lines/s");
    }
}
