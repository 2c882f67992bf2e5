//! What sample survey to make.
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sample::{SampleBands, SampleError, SampleSettings};

use super::values::{LocalPath, sample_px};

/// The real galaxies that a survey is drawn from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Parents {
    /// Four rows in five.
    Train,
    /// The other one.
    Test,
    /// Every row.
    All,
}

/// Arguments of `sample`.
#[derive(Args, Debug, Clone)]
pub struct SampleCommand {
    /// Where the survey goes: a URL or a path
    pub out: String,
    /// Bands of the cutouts and magnitudes, in their order: any of u, g, r, i and z, as griz or g,r,i,z
    #[arg(long, value_delimiter = ',', default_value = "ugriz")]
    pub bands: Vec<String>,
    #[command(flatten)]
    pub args: SampleArgs,
}

impl SampleCommand {
    pub(crate) fn settings(&self) -> Result<SampleSettings, SampleError> {
        let bands = self.bands.join(",").parse()?;
        Ok(SampleSettings {
            bands,
            ..self.args.settings()
        })
    }
}

/// Arguments of `sample`, and of `demo`.
#[derive(Args, Debug, Clone)]
pub struct SampleArgs {
    /// Objects in all drops with cutouts
    #[arg(long, default_value_t = 4_000)]
    pub galaxies: u64,
    /// Drops with cutouts
    #[arg(long, default_value_t = 3)]
    pub drops: u64,
    /// The same seed gives the same survey to the byte
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Side of a cutout in pixels of 0.396 arcsec, from 8 to 2048
    #[arg(long, default_value_t = 64, value_parser = sample_px)]
    pub px: usize,
    /// Which real galaxies to draw from: train and test have none in common
    #[arg(long, value_enum, default_value = "all")]
    pub parents: Parents,
    /// A table of real galaxies instead of the bundled one: a line "#zs u g r i z", then their rows
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    pub photometry: Option<PathBuf>,
    /// Errors of the magnitudes, in units of the SDSS's own: 0 gives the magnitudes that the cutouts are rendered from
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub mag_noise: f64,
    /// Share of a drop's rows, from the second drop on, that correct an object of an earlier drop
    #[arg(long, default_value_t = 0.01)]
    pub corrections: f64,
    /// Share of a drop's rows, from the second drop on, that withdraw an object of an earlier drop
    #[arg(long, default_value_t = 0.0)]
    pub withdrawals: f64,
    /// Share of the rows that are unfit, to be rejected
    #[arg(long, default_value_t = 0.001)]
    pub bad_rows: f64,
    /// Share of the objects whose spec-z the drops with cutouts do not have
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub without_spec_z: f64,
    /// Further drops of spec-z alone, for the objects without one (a tenth of all where every object has one)
    #[arg(long, default_value_t = 0)]
    pub specz_drops: u64,
}

impl SampleArgs {
    pub(crate) fn settings(&self) -> SampleSettings {
        SampleSettings {
            galaxies: self.galaxies,
            drops: self.drops,
            seed: self.seed,
            px: self.px,
            bands: SampleBands::default(),
            parents: match self.parents {
                Parents::Train => sample::ParentSplit::Train,
                Parents::Test => sample::ParentSplit::Test,
                Parents::All => sample::ParentSplit::All,
            },
            photometry: self.photometry.clone(),
            mag_noise: self.mag_noise,
            corrections: self.corrections,
            withdrawals: self.withdrawals,
            bad_rows: self.bad_rows,
            without_spec_z: self.without_spec_z,
            specz_drops: self.specz_drops,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use sample::SampleSettings;

    use super::SampleCommand;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        command: SampleCommand,
    }

    fn settings(flags: &str) -> SampleSettings {
        let words = ["sample", "out"]
            .into_iter()
            .chain(flags.split_whitespace());
        CommandLine::parse_from(words).command.settings().unwrap()
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(
            format!("{:?}", settings("")),
            format!("{:?}", SampleSettings::default())
        );
    }

    #[test]
    fn bands_are_letters_or_a_list() {
        for flags in ["--bands zgr", "--bands z,g,r", "--bands z --bands g,r"] {
            assert_eq!(settings(flags).bands.to_string(), "zgr", "{flags}");
        }
    }
}
