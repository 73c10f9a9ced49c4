//! What the system says of this process. What it does not say is left out.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Asks the system whenever somebody asks for metrics. The names are those that Prometheus' own libraries use.
#[derive(Debug)]
pub(super) struct Process {
    start: SystemTime,
}

impl Process {
    /// Notes the time of the start, near enough.
    pub(super) fn new() -> Self {
        Self { start: SystemTime::now() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric.metric_type())?)
        };
        let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
        let help = "Processor time that the process has used";
        write("process_cpu", help, Some(Unit::Seconds), &ConstCounter::new(cpu.as_secs_f64()))?;
        let gauges = [
            (
                "process_resident_memory",
                "Memory of the machine that it takes",
                Some(Unit::Bytes),
                resident_memory(),
            ),
            ("process_open_fds", "File descriptors that it has open", None, open_files()),
            (
                "process_max_fds",
                "File descriptors that it may have open",
                None,
                getrlimit(Resource::Nofile).current,
            ),
        ];
        for (name, help, unit, value) in gauges {
            if let Some(value) = value {
                write(name, help, unit, &ConstGauge::new(value))?;
            }
        }
        let start = self.start.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let help = "When it was started, since 1970";
        write("process_start_time", help, Some(Unit::Seconds), &ConstGauge::new(start))
    }
}

fn open_files() -> Option<u64> {
    // Linux tells by the size of the directory since 6.2, which saves listing thousands.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // The listing itself takes one.
        0 => u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)).ok(),
        count => Some(count),
    }
}

fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_process_is_described() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let value = |name: &str| -> f64 {
            let sample = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            sample.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
        if cfg!(target_os = "linux") {
            assert!(value("process_resident_memory_bytes") > 1e6);
            assert!(value("process_open_fds") >= 3.0);
            assert!(value("process_max_fds") >= value("process_open_fds"));
        }
    }
}
