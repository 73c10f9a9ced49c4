//! What was measured, for people and for programs.

use std::fmt;

use serde_json::{Map, Value, json};

use super::Arguments;
use super::chart;
use super::load::Ran;
use super::shot::Shot;
use super::tally::Tally;
use crate::cli::body::Format;
use crate::cli::table::Table;

/// All that is known at the end.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) shot: &'a Shot,
    pub(super) tally: &'a Tally,
    pub(super) ran: Ran,
}

impl Summary<'_> {
    /// It as JSON, with latencies in milliseconds.
    pub(super) fn to_json(&self) -> Value {
        let Self { arguments, shot, tally, ran } = self;
        let names = |name: &str| name.replace('.', "_");
        let latencies: Map<_, _> = tally
            .latencies()
            .into_iter()
            .map(|(name, latency)| (names(name), json!(latency * 1e3)))
            .collect();
        let statuses: Map<_, _> = tally
            .statuses()
            .iter()
            .map(|(status, count)| (status.to_string(), json!(count.requests)))
            .collect();
        let failures = tally.statuses().iter().filter_map(|(status, count)| {
            let message = count.failure.as_ref()?;
            Some(json!({ "status": status.to_string(), "requests": count.requests, "first": message }))
        });
        let ranges = self.ranges();
        let ranges = ranges
            .iter()
            .map(|range| json!({ "from": range.from * 1e3, "to": range.to * 1e3, "requests": range.count }));
        json!({
            "model": arguments.model,
            "signature": shot.signature,
            "server": shot.server,
            "through": if shot.is_http() { "http" } else { "grpc" },
            "format": self.format(),
            "rows": self.rows(),
            "bytes": shot.size,
            "concurrency": arguments.concurrency,
            "rate": arguments.rate,
            "interrupted": ran.is_interrupted,
            "seconds": ran.time.as_secs_f64(),
            "requests": tally.requests(),
            "requests_per_second": self.throughput(),
            "failed": tally.failed(),
            "unsent": ran.unsent,
            "statuses": statuses,
            "failures": failures.collect::<Vec<_>>(),
            "latency_ms": latencies,
            "histogram_ms": ranges.collect::<Vec<_>>(),
        })
    }

    fn ranges(&self) -> Vec<chart::Range> {
        chart::ranges(&self.tally.recorded().collect::<Vec<_>>())
    }

    /// How many rows a request has, if it was made up.
    fn rows(&self) -> Option<u32> {
        self.shot.signature.as_ref().map(|_| self.arguments.batch)
    }

    /// What is sent, by its name.
    fn format(&self) -> String {
        let format = if self.shot.is_http() { self.shot.format } else { Format::Protobuf };
        format.name()
    }

    #[expect(clippy::cast_precision_loss, reason = "it is a rate")]
    fn throughput(&self) -> f64 {
        self.tally.requests() as f64 / self.ran.time.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arguments, shot, tally, ran } = self;
        let way = if shot.is_http() { "HTTP" } else { "gRPC, with no bridge between" };
        writeln!(formatter, "{} at {}, over {way}", arguments.model, shot.server)?;
        let rows = match self.rows() {
            Some(1) => "1 row, ".to_owned(),
            Some(rows) => format!("{rows} rows, "),
            None => String::new(),
        };
        let signature = shot.signature.as_ref().map_or_else(String::new, |name| format!("{name}, "));
        let (format, size, at_once) = (self.format(), shot.size, arguments.concurrency);
        writeln!(formatter, "{signature}{format}, {rows}{size} bytes; up to {at_once} requests at a time")?;
        match arguments.rate {
            Some(rate) => writeln!(
                formatter,
                "{rate} requests a second are due; latencies count from when each was due"
            )?,
            None => writeln!(formatter, "each answer is followed by the next request")?,
        }
        if ran.is_interrupted {
            writeln!(formatter, "interrupted: what was under way does not count")?;
        }
        let throughput = self.throughput();
        writeln!(
            formatter,
            "\nrequests  {} in {:.2} s: {throughput:.0} per second",
            tally.requests(),
            ran.time.as_secs_f64()
        )?;
        if let Some(rows) = self.rows().filter(|rows| *rows > 1) {
            writeln!(formatter, "rows      {:.0} per second", throughput * f64::from(rows))?;
        }
        writeln!(formatter, "failed    {}", tally.failed())?;
        for (status, count) in tally.statuses() {
            let failure =
                count.failure.as_ref().map_or_else(String::new, |told| format!(", the first: {told}"));
            writeln!(formatter, "          {status}: {}{failure}", count.requests)?;
        }
        if ran.unsent > 0 {
            writeln!(
                formatter,
                "unsent    {}: all {at_once} requests at a time were under way when they were due",
                ran.unsent
            )?;
        }
        let latencies = tally.latencies();
        let mut columns = latencies.iter();
        let columns: [_; 8] = std::array::from_fn(|_| columns.next().copied().unwrap_or_default());
        if !latencies.is_empty() {
            let mut table = Table::new(columns.map(|(name, _)| name));
            table.row(columns.map(|(_, latency)| time(latency)));
            write!(formatter, "\nlatency of the good answers\n{table}\n{}", chart::draw(&self.ranges()))?;
        }
        Ok(())
    }
}

/// A time for people, with three digits.
pub(super) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds < 0.999_5e-3 => (seconds * 1e6, "µs"),
        seconds if seconds < 0.999_5 => (seconds * 1e3, "ms"),
        seconds => (seconds, "s"),
    };
    let digits = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let check = |seconds: f64, expected: &str| assert_eq!(time(seconds), expected);
        check(0.0, "0.00 µs");
        check(12.34e-6, "12.3 µs");
        check(999.9e-6, "1.00 ms");
        check(0.123_4, "123 ms");
        check(0.009_996, "10.0 ms");
        check(0.999_9, "1.00 s");
        check(123.4, "123 s");
    }
}
