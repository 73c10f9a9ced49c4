//! What the doctor has found, step by step: printed as it is found, or as JSON at the end.

use std::fmt::Write as _;
use std::future::Future;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::OutputFormat;
use crate::cli::table::visible;
use crate::error;

/// How wide a line on a terminal is.
const WIDTH: usize = 80;

/// How far what is said of a step is from the margin.
const INDENT: usize = 20;

/// How long a step may take beyond the time limit of what it does.
const GRACE: Duration = Duration::from_secs(1);

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Failed,
    Skipped,
}

/// A step that is over.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    name: &'static str,
    status: Status,
    /// How long it took; absent if nothing was done.
    milliseconds: Option<f64>,
    /// What was found.
    detail: String,
    /// Why it most likely is so.
    cause: Option<String>,
    /// What to try next.
    advice: Option<String>,
}

/// What a step has found that went well.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) detail: String,
    /// What to think about all the same.
    pub(super) advice: Option<String>,
}

impl<T> Found<T> {
    pub(super) fn new(value: T, detail: impl Into<String>) -> Self {
        Self { value, detail: detail.into(), advice: None }
    }

    pub(super) fn advise(self, advice: Option<String>) -> Self {
        Self { advice, ..self }
    }
}

/// Why a step did not go well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Not {
    /// Something is wrong.
    Failed(Fault),
    /// Nothing could be found out.
    Skipped(String),
}

/// What is wrong, why, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) detail: String,
    pub(super) cause: String,
    pub(super) advice: String,
}

impl Fault {
    pub(super) fn new(
        detail: impl Into<String>,
        cause: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { detail: detail.into(), cause: cause.into(), advice: advice.into() }
    }
}

impl From<Fault> for Not {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// How steps are printed.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// Not at all, until the end.
    Json,
    /// With words, a line for each finding.
    Plain,
    /// With marks and colours, in lines that fit.
    Terminal,
}

/// The steps so far.
#[derive(Debug)]
pub(super) struct Report {
    style: Style,
    target: String,
    steps: Vec<Step>,
    /// Whether all of it could be printed.
    printed: error::Result<()>,
}

impl Report {
    /// A report on this target.
    pub(super) fn new(target: &str, output: OutputFormat) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || !std::io::stdout().is_terminal();
        let style = match output {
            OutputFormat::Json => Style::Json,
            OutputFormat::Text if is_plain => Style::Plain,
            OutputFormat::Text => Style::Terminal,
        };
        Self { style, target: target.to_owned(), steps: Vec::new(), printed: Ok(()) }
    }

    /// Takes a step and gives what came of it, if it went well. It ends in time even if its work does not.
    pub(super) async fn step<T>(
        &mut self,
        name: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<Found<T>, Not>>,
    ) -> Option<T> {
        if matches!(self.style, Style::Terminal) {
            self.print(&format!("… {name}"));
        }
        let start = Instant::now();
        let result = tokio::time::timeout(limit + GRACE, work).await.unwrap_or_else(|_| {
            Err(Not::Failed(Fault::new(
                format!("no end within {}", humantime::format_duration(limit)),
                "The other side is very slow, or has stopped in the middle.",
                "Try a longer --timeout.",
            )))
        });
        let milliseconds = Some(start.elapsed().as_secs_f64() * 1e3);
        let mut step =
            Step { name, status: Status::Ok, milliseconds, detail: String::new(), cause: None, advice: None };
        let value = match result {
            Ok(Found { value, detail, advice }) => {
                (step.detail, step.advice) = (detail, advice);
                Some(value)
            }
            Err(Not::Failed(Fault { detail, cause, advice })) => {
                (step.status, step.detail) = (Status::Failed, detail);
                (step.cause, step.advice) = (Some(cause), Some(advice));
                None
            }
            Err(Not::Skipped(detail)) => {
                (step.status, step.detail, step.milliseconds) = (Status::Skipped, detail, None);
                None
            }
        };
        self.add(step);
        value
    }

    /// Passes over a step for a reason.
    pub(super) fn skip(&mut self, name: &'static str, reason: &str) {
        let (status, detail) = (Status::Skipped, reason.to_owned());
        self.add(Step { name, status, milliseconds: None, detail, cause: None, advice: None });
    }

    fn add(&mut self, step: Step) {
        match self.style {
            Style::Json => {}
            Style::Plain => self.print(&lines(&step, false)),
            // The name that stood there while the work was done goes.
            Style::Terminal => self.print(&format!("\r\x1b[K{}", lines(&step, true))),
        }
        self.steps.push(step);
    }

    /// How many steps have failed.
    pub(super) fn failures(&self) -> usize {
        self.steps.iter().filter(|step| step.status == Status::Failed).count()
    }

    /// How many steps there were.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    fn print(&mut self, text: &str) {
        if self.printed.is_ok() {
            self.printed = crate::cli::print(text);
        }
    }

    /// Prints what has not been printed.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if not all of the report could be.
    pub(super) fn finish(&mut self) -> error::Result<()> {
        match self.style {
            Style::Json => {
                let is_well = self.failures() == 0;
                let report = serde_json::json!({ "target": self.target, "ok": is_well, "steps": self.steps });
                self.print(&format!("{report:#}\n"));
            }
            Style::Plain => {}
            // What was begun when it was interrupted.
            Style::Terminal => self.print("\r\x1b[K"),
        }
        std::mem::replace(&mut self.printed, Ok(()))
    }
}

/// A step for people.
fn lines(step: &Step, is_terminal: bool) -> String {
    let mark = match (step.status, is_terminal) {
        (Status::Ok, true) => "\x1b[32m✓\x1b[0m",
        (Status::Failed, true) => "\x1b[31m✗\x1b[0m",
        (Status::Skipped, true) => "\x1b[2m–\x1b[0m",
        (Status::Ok, false) => "ok  ",
        (Status::Failed, false) => "FAIL",
        (Status::Skipped, false) => "skip",
    };
    let time = step.milliseconds.map_or_else(String::new, |milliseconds| {
        if milliseconds < 1e3 {
            format!("{milliseconds:.1} ms")
        } else {
            format!("{:.2} s", milliseconds / 1e3)
        }
    });
    let mut text = format!("{mark} {:<8} {time:>8}  ", step.name);
    text.push_str(&paragraph(&step.detail, is_terminal));
    for (label, said) in [("cause", &step.cause), ("try", &step.advice)] {
        let Some(said) = said else { continue };
        // Words are wider than marks.
        let indent = if is_terminal { INDENT } else { INDENT + 3 };
        let label = if step.status == Status::Ok { "note" } else { label };
        // Writing to a string does not fail.
        let _ = write!(text, "{label:>width$}  {}", paragraph(said, is_terminal), width = indent - 1);
    }
    text
}

/// A text in lines that fit, the further ones below the first.
fn paragraph(text: &str, is_terminal: bool) -> String {
    let text = visible(text);
    if !is_terminal {
        return format!("{text}\n");
    }
    let (mut whole, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH - INDENT - 1 {
            whole.push('\n');
            whole.extend(std::iter::repeat_n(' ', INDENT + 1));
            column = 0;
        } else if column > 0 {
            whole.push(' ');
            column += 1;
        }
        whole.push_str(word);
        column += length;
    }
    whole.push('\n');
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report { style: Style::Json, target: "t".to_owned(), steps: Vec::new(), printed: Ok(()) }
    }

    #[tokio::test(start_paused = true)]
    async fn steps_tell_what_came_of_them_and_end_in_time() {
        let mut report = report();
        let second = Duration::from_secs(1);
        assert_eq!(report.step("one", second, async { Ok(Found::new(7, "fine")) }).await, Some(7));
        let fault = Fault::new("d", "c", "a");
        assert_eq!(report.step::<()>("two", second, async { Err(fault.into()) }).await, None);
        assert_eq!(report.step::<()>("three", second, std::future::pending()).await, None);
        let skipped = async { Err(Not::Skipped("no".to_owned())) };
        assert_eq!(report.step::<()>("four", second, skipped).await, None);
        assert_eq!((report.failures(), report.len()), (2, 4));
        let json = serde_json::to_value(&report.steps).unwrap();
        assert_eq!((&json[0]["status"], &json[1]["cause"]), (&"ok".into(), &"c".into()));
        assert_eq!(json[2]["detail"], "no end within 1s");
        assert_eq!((&json[3]["status"], json[3]["milliseconds"].is_null()), (&"skipped".into(), true));
    }

    #[test]
    fn people_read_lines_that_fit() {
        let step = Step {
            name: "tcp",
            status: Status::Failed,
            milliseconds: Some(12.34),
            detail: format!("\x1b[2J{}", "word ".repeat(20)),
            cause: Some("c".to_owned()),
            advice: Some("a".to_owned()),
        };
        let text = lines(&step, true);
        assert!(text.contains("\\u{1b}[2Jword word"), "{text}");
        assert!(text.lines().skip(1).all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.lines().nth(1).unwrap().find("word"), Some(INDENT + 1));
        let plain = lines(&Step { detail: "d".to_owned(), ..step }, false);
        assert_eq!(
            plain,
            "FAIL tcp       12.3 ms  d\n                 cause  c\n                   try  a\n"
        );
    }
}
