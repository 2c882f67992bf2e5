//! Values that clap has no parser for.
use std::{ffi::OsStr, ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{
    Command,
    builder::{PathBufValueParser, TypedValueParser},
    error::ErrorKind,
};
use connectors::scheme::scheme;
use hubbleflow::{settings::THREADS_MAX, units::HumanDuration};
use sample::SampleSettings;

/// Upper bound on the processes that are started on one machine.
pub const LOCAL_MAX: usize = 128;
/// The shortest pause between two looks at a catalog.
const POLL_MIN: Duration = Duration::from_millis(10);
/// The shortest time between two checkpoints.
const CHECKPOINT_MIN: Duration = Duration::from_millis(100);

pub(crate) fn poll(text: &str) -> Result<HumanDuration, String> {
    let poll: HumanDuration = text.parse()?;
    if poll.0 < POLL_MIN {
        let least = POLL_MIN.as_millis();
        return Err(format!("a catalog is looked at every {least}ms at most"));
    }
    Ok(poll)
}

pub(crate) fn checkpoint(text: &str) -> Result<HumanDuration, String> {
    if text == "0" {
        return Ok(HumanDuration(Duration::ZERO));
    }
    let every: HumanDuration = text.parse()?;
    match every.0.is_zero() || every.0 >= CHECKPOINT_MIN {
        true => Ok(every),
        false => Err(format!(
            "results are stored every {}ms at most",
            CHECKPOINT_MIN.as_millis()
        )),
    }
}

fn within(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse::<usize>().ok();
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()))
    }
}

pub(crate) fn threads(text: &str) -> Result<usize, String> {
    within(1..=THREADS_MAX)(text)
}

pub(crate) fn local(text: &str) -> Result<usize, String> {
    within(1..=LOCAL_MAX)(text)
}

pub(crate) fn sample_px(text: &str) -> Result<usize, String> {
    within(SampleSettings::PX)(text)
}

/// A path of this machine; a URL is refused, since it would become a folder `s3:`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalPath;

impl TypedValueParser for LocalPath {
    type Value = PathBuf;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<PathBuf, clap::Error> {
        let refuse = |reason: String| {
            let name = arg.map(|arg| format!("{arg}: ")).unwrap_or_default();
            // Not clap's own words, which repeat the value: it may hold a password.
            let reason = format!("{name}{reason}\n");
            clap::Error::raw(ErrorKind::ValueValidation, reason).with_cmd(command)
        };
        match value.to_str().map(scheme) {
            Some(Err(error)) => Err(refuse(error.to_string())),
            Some(Ok(Some(scheme))) => Err(refuse(format!(
                "a {scheme} URL, and this must be a path of this machine"
            ))),
            _ => PathBufValueParser::new().parse_ref(command, arg, value),
        }
    }
}
