//! What a user sees of a run: a line for each drop that is settled, and in between how far it is.
use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use operators::{Outcome, Progress, Published, Settled, metrics::Numbers};

use crate::{clock::clock, console::tell, plan::Pending, settings::Bytes};

/// How often a terminal is redrawn, and how often a log gets a line.
const REDRAW: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Reasons of a failed drop that are shown; a drop of thousands of splits may have one for each.
const REASONS_MAX: usize = 5;

/// Shows a run on standard error: a bar on a terminal, plain lines elsewhere.
#[derive(Clone)]
pub struct Observer {
    /// `None` where nothing is shown.
    bar: Option<ProgressBar>,
    _shown: Option<Arc<Shown>>,
}

/// Stops the thread that shows progress.
struct Shown {
    over: Arc<AtomicBool>,
    bar: ProgressBar,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

impl Observer {
    /// Starts to show a run over some drops, or over whatever comes.
    pub fn start(pending: Option<&[Pending]>, progress: Progress) -> Self {
        let drops = pending.map(|pending| pending.len() as u64);
        let bytes = pending.map(|pending| pending.iter().map(|pending| pending.bytes).sum());
        if drops == Some(0) {
            tell("nothing to do: no drop is pending");
        }
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(drops, target);
        let template = match drops {
            Some(_) => "{spinner} {bar:24} {pos}/{len} drops  {msg}",
            None => "{spinner} {pos} drops  {msg}",
        };
        bar.set_style(
            ProgressStyle::with_template(template)
                .expect("the templates of the bar are well formed"),
        );
        let over = Arc::new(AtomicBool::new(false));
        let shown = Arc::new(Shown {
            over: over.clone(),
            bar: bar.clone(),
        });
        let ticking = bar.clone();
        // Ends by itself soon after the run; nobody need wait for it.
        std::thread::spawn(move || show(&ticking, &progress, bytes, &over, terminal));
        Self {
            bar: Some(bar),
            _shown: Some(shown),
        }
    }

    /// Shows nothing: for a run within another command.
    pub fn quiet() -> Self {
        Self {
            bar: None,
            _shown: None,
        }
    }

    /// Tells how a drop ended.
    pub fn settled(&self, settled: &Settled) {
        if let Outcome::Known(_) = settled.outcome {
            // Its metrics are made again, and told when they are.
            return;
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        self.say(describe(settled));
    }

    /// Tells of a drop of an earlier run that could not be published.
    pub fn failed(&self, drop: &str, reason: &str) {
        self.say(describe_failure(drop, reason));
    }

    /// Tells what the user should know.
    pub fn warn(&self, line: &str) {
        self.say(format!("warning: {line}"));
    }

    /// Tells what the metrics are after a drop, or why they are not known.
    pub fn scored(&self, published: &Published) {
        self.say(describe_metrics(published));
    }

    fn say(&self, line: String) {
        if let Some(bar) = &self.bar {
            bar.suspend(|| tell(line));
        }
    }
}

fn show(
    bar: &ProgressBar,
    progress: &Progress,
    bytes: Option<u64>,
    over: &AtomicBool,
    terminal: bool,
) {
    let began = clock();
    let (mut logged, mut last) = (began, String::new());
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(REDRAW);
        let line = describe_progress(progress, bytes, clock() - began);
        if terminal {
            bar.set_message(line);
            bar.tick();
        } else if clock() - logged >= LOG_EVERY && line != last {
            logged = clock();
            let of = bar
                .length()
                .map_or_else(String::new, |drops| format!(" of {drops}"));
            tell(format_args!("{}{of} drops settled, {line}", bar.position()));
            last = line;
        }
    }
}

fn describe_progress(progress: &Progress, bytes: Option<u64>, elapsed: Duration) -> String {
    let rows = progress.rows();
    let rate = rows as f64 / elapsed.as_secs_f64().max(1e-3);
    let expected = bytes.and_then(|bytes| progress.expected_rows(bytes));
    match expected.filter(|_| rows > 0) {
        Some(expected) => {
            let left = expected.saturating_sub(rows) as f64 / rate;
            format!("{rows} of about {expected} rows, {rate:.0} galaxies/s, {left:.0} s left")
        }
        None => format!("{rows} rows"),
    }
}

/// One line on the metrics up to a drop.
fn describe_metrics(published: &Published) -> String {
    let Published {
        sequence,
        drop,
        all,
    } = published;
    match all {
        Ok(all) => format!("{drop}: metrics up to {sequence}: {}", one_line(all)),
        Err(reason) => format!(
            "{drop}: NO METRICS up to {sequence}: {reason}; what is committed stays, and the next run makes them"
        ),
    }
}

/// The numbers that people ask for first.
pub fn one_line(numbers: &Numbers) -> String {
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.5}"));
    format!(
        "n {}, bias {}, sigma_nmad {}, outlier_fraction_0.05 {}, outlier_fraction_0.15 {}",
        numbers.n,
        number(numbers.bias),
        number(numbers.sigma_nmad),
        number(numbers.outlier_fraction_005),
        number(numbers.outlier_fraction_015),
    )
}

fn describe_failure(drop: &str, reason: &str) -> String {
    format!("{drop}: FAILED: {reason}")
}

/// One line on a drop; a failed one has a line for each reason.
fn describe(settled: &Settled) -> String {
    let (drop, rows, tally) = (&settled.drop, &settled.rows, &settled.tally);
    match &settled.outcome {
        Outcome::Committed(sequence) => format!(
            "{drop}: committed as {sequence}: {} rows read ({}), {} written, {} learned, {} rejected; {} files; read {:.1} s, validate {:.1} s, infer {:.1} s, write {:.1} s",
            rows.read,
            Bytes(tally.fetched_bytes),
            rows.written,
            rows.learned,
            rows.rejected,
            settled.files,
            tally.read_seconds,
            tally.validate_seconds,
            tally.infer_seconds,
            tally.write_seconds,
        ),
        Outcome::Known(sequence) => format!("{drop}: is committed as {sequence}"),
        Outcome::Overtaken(sequence) => {
            format!("{drop}: another run has committed it as {sequence}")
        }
        Outcome::Abandoned => {
            format!("{drop}: another run has abandoned this attempt; taking it in again")
        }
        Outcome::Failed(reasons) => {
            let mut lines: Vec<String> = reasons
                .iter()
                .take(REASONS_MAX)
                .map(|reason| describe_failure(drop, reason))
                .collect();
            match reasons.len().saturating_sub(REASONS_MAX) {
                0 => (),
                more => lines.push(format!(
                    "{drop}: FAILED: and {more} more reasons like these"
                )),
            }
            lines.join("\n")
        }
    }
}
