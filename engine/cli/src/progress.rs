//! What a user sees of a run: a line for each drop that is settled, and in between how far the run is.
use std::{
    io::IsTerminal,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use connectors::ledger::FlagCounts;
use hubbleflow::{
    Gathered, Observer, Outcome, Progress, Published, Settled, Work, clock::clock,
    units::HumanBytes,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{again::has_met, console::tell, signals::asked, supervise::lose_cluster};

/// How often a terminal is redrawn, and how often a log gets a line.
const REDRAW: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Reasons of a failed drop that are shown; a drop of thousands of splits may have a reason for each.
const REASONS_MAX: usize = 5;

/// Shows a run on standard error: a bar on a terminal, plain lines elsewhere.
#[derive(Default)]
pub(crate) struct Console {
    bar: OnceLock<ProgressBar>,
    over: Arc<AtomicBool>,
}

impl Console {
    fn say(&self, line: String) {
        match self.bar.get() {
            Some(bar) => bar.suspend(|| tell(line)),
            None => tell(line),
        }
    }
}

impl Observer for Console {
    fn gathered(&self, cluster: &Gathered) {
        if let Some(start) = &cluster.start {
            self.say(format!(
                "process {} of a cluster of {}",
                cluster.process, cluster.processes
            ));
            has_met(start, cluster.processes);
        }
    }

    fn begin(&self, work: Option<Work>, progress: &Progress) {
        if work.is_some_and(|work| work.drops == 0) {
            tell("nothing to do: no drop is pending");
        }
        let terminal = std::io::stderr().is_terminal();
        let bar = bar(work, terminal);
        let (shown, progress, over) = (bar.clone(), progress.clone(), self.over.clone());
        let bytes = work.map(|work| work.bytes);
        self.bar.get_or_init(|| bar);
        // Ends by itself soon after the run; nobody need wait for it.
        std::thread::spawn(move || show(&shown, &progress, bytes, &over, terminal));
    }

    fn settled(&self, settled: &Settled) {
        if let Outcome::Known(_) = settled.outcome {
            // Its metrics are made again, and told when they are.
            return;
        }
        if let Some(bar) = self.bar.get() {
            bar.inc(1);
        }
        self.say(describe(settled));
    }

    fn unpublished(&self, drop: &str, reason: &str) {
        self.say(describe_failure(drop, reason));
    }

    fn scored(&self, published: &Published) {
        self.say(describe_metrics(published));
    }

    fn warn(&self, line: &str) {
        self.say(format!("warning: {line}"));
    }

    fn adopted(&self, drop: &str, rows_adopted: u64, rows: u64) {
        self.say(format!(
            "{drop}: {rows_adopted} of {rows} rows come from checkpoints of earlier tries"
        ));
    }

    /// Ends this process at once: its workers would wait for the lost one, and a store may not answer. A process that is
    /// about to leave ends by itself.
    fn peer_lost(&self, how: &str) {
        if asked().is_some() {
            return;
        }
        tell(format_args!(
            "hubbleflow: {how}; this process ends too: what is committed stays, and the next start goes on"
        ));
        lose_cluster();
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn bar(work: Option<Work>, terminal: bool) -> ProgressBar {
    let target = if terminal {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(work.map(|work| work.drops), target);
    let template = match work {
        Some(_) => "{spinner} {bar:24} {pos}/{len} drops  {msg}",
        None => "{spinner} {pos} drops  {msg}",
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("invariant: the templates of the bar are well formed"))
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
        Ok(all) => format!("{drop}: metrics up to {sequence}: {all}"),
        Err(reason) => format!(
            "{drop}: NO METRICS up to {sequence}: {reason}; what is committed stays, and the next run makes them"
        ),
    }
}

fn describe_failure(drop: &str, reason: &str) -> String {
    format!("{drop}: FAILED: {reason}")
}

/// The rows by flag, as the end of a clause; nothing if no row is flagged.
pub(crate) fn flagged(flags: &FlagCounts) -> String {
    match flags.is_empty() {
        true => String::new(),
        false => format!("; flagged: {flags}"),
    }
}

/// One line on a drop; a failed one has a line for each reason.
fn describe(settled: &Settled) -> String {
    let (drop, rows, tally) = (&settled.drop, &settled.rows, &settled.tally);
    let flagged = flagged(&settled.flags);
    match &settled.outcome {
        Outcome::Committed(sequence) => format!(
            "{drop}: committed as {sequence}: {} rows read ({}), {} written, {} learned, {} rejected; {} files{flagged}; read {:.1} s, validate {:.1} s, infer {:.1} s, write {:.1} s",
            rows.read,
            HumanBytes(tally.fetched_bytes),
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
