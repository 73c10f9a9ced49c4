//! A histogram of latencies as lines: a bar for each range, the ranges wider the longer they last.

use std::fmt::Write as _;

use super::summary::time;

/// The steps of a scale within a factor of ten, the fine ones first.
const SCALES: [&[f64]; 3] = [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0]];

/// The most lines.
const MOST_LINES: usize = 18;

/// How many characters the longest bar has.
const BAR: usize = 36;

/// Parts of a character, in eighths.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// So many latencies are within these bounds, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) count: u64,
}

/// The ranges from the shortest to the longest of the latencies, which come sorted, with how often each occurred.
pub(super) fn ranges(latencies: &[(f64, u64)]) -> Vec<Range> {
    let (Some((shortest, _)), Some((longest, _))) = (latencies.first(), latencies.last()) else {
        return Vec::new();
    };
    let mut ranges = Vec::new();
    for scale in SCALES {
        ranges = bounds(scale, *shortest, *longest);
        if ranges.len() <= MOST_LINES {
            break;
        }
    }
    let mut at = 0;
    for (latency, count) in latencies {
        while ranges.get(at + 1).is_some_and(|next| next.from <= *latency) {
            at += 1;
        }
        if let Some(range) = ranges.get_mut(at) {
            range.count += count;
        }
    }
    ranges
}

/// Empty ranges of a scale that cover these two.
fn bounds(scale: &[f64], shortest: f64, longest: f64) -> Vec<Range> {
    // From a nanosecond to beyond an hour.
    let steps = (-9..5).flat_map(|exponent| scale.iter().map(move |step| step * 10_f64.powi(exponent)));
    let steps: Vec<_> = steps.collect();
    let pairs = steps.windows(2).filter_map(|pair| match pair {
        [from, to] if *to > shortest && *from <= longest => Some(Range { from: *from, to: *to, count: 0 }),
        _ => None,
    });
    pairs.collect()
}

/// The lines.
pub(super) fn draw(ranges: &[Range]) -> String {
    let most = ranges.iter().map(|range| range.count).max().unwrap_or_default().max(1);
    let all = ranges.iter().map(|range| range.count).sum::<u64>().max(1);
    let mut text = String::new();
    for Range { from, to, count } in ranges {
        #[expect(clippy::cast_precision_loss, reason = "it is for people")]
        let part = 100.0 * *count as f64 / all as f64;
        let (from, to, bar) = (time(*from), time(*to), bar(*count, most));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{from:>7} – {to:>7}  {bar:<BAR$} {count:>9} {part:>5.1} %");
    }
    text
}

/// A bar as long as its count is of the largest, and not empty if there is anything.
fn bar(count: u64, most: u64) -> String {
    let eighths = u128::from(count) * (8 * BAR as u128) / u128::from(most);
    let eighths = usize::try_from(eighths).unwrap_or_default().max(usize::from(count > 0));
    format!("{}{}", "█".repeat(eighths / 8), PARTS.get(eighths % 8).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_latencies() {
        let ranges = ranges(&[(0.0011, 3), (0.0016, 1), (0.0049, 6)]);
        let counts: Vec<_> = ranges.iter().map(|range| range.count).collect();
        assert_eq!(counts, [3, 1, 0, 6]);
        assert!((ranges[0].from - 0.001).abs() < 1e-9 && (ranges[3].to - 0.005).abs() < 1e-9, "{ranges:?}");
        // Of latencies that are far apart there are still few lines.
        for (shortest, longest) in [(1e-4, 1e-1), (1e-9, 3600.0)] {
            let wide = super::ranges(&[(shortest, 1), (longest, 1)]);
            assert!(wide.len() <= MOST_LINES, "{wide:?}");
            assert_eq!(wide.iter().map(|range| range.count).sum::<u64>(), 2);
        }
        assert!(super::ranges(&[]).is_empty());
    }

    #[test]
    fn bars_are_as_long_as_their_counts() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(10, 10), "█".repeat(BAR));
        assert_eq!(bar(1, 8), "████▌");
        let text =
            draw(&[Range { from: 0.001, to: 0.0015, count: 3 }, Range { from: 0.0015, to: 0.002, count: 1 }]);
        assert!(text.lines().all(|line| line.chars().count() <= 79), "{text}");
        assert!(text.contains("75.0 %") && text.starts_with("1.00 ms – 1.50 ms  █"), "{text}");
    }
}
