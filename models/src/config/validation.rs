//! The rules that a configuration must keep. With the upper bounds, no product of sizes overflows.

use super::{Architecture, Config, DecoderConfig, EncoderConfig, EncoderKind};
use crate::bands;
use crate::config::Branch;

/// Upper bound on the blocks of a network: far above any real network, and few enough to look for the tensors of each.
pub(super) const DEPTH_MAX: usize = 1024;
/// Upper bound on the channels of a token or of a layer, far above any real network.
pub(crate) const WIDTH_MAX: usize = 1 << 16;
/// Upper bound on the width of a hidden layer, in units of `width`.
const MLP_RATIO_MAX: usize = 256;
/// Upper bound on the side of a cutout.
pub(super) const CUTOUT_PX_MAX: usize = 4096;
/// Upper bound on the side of the PCM's convolutions.
const PCM_KERNEL_MAX: usize = 255;

/// The rule that a configuration breaks, as a sentence: which field, what it is and what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BrokenRule(String);

impl From<String> for BrokenRule {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

/// Whether a rule is kept, and the message if it is not.
type Rule = (bool, String);

impl Config {
    /// Checks that the sizes fit each other.
    ///
    /// # Errors
    /// The first rule that is broken.
    ///
    /// ```
    /// let mut config = hubbleflow_models::Config::preset("astromae").unwrap();
    /// config.cutout_px = 42;
    /// let broken = config.validate().unwrap_err().to_string();
    /// assert_eq!(broken, "`cutout_px` is 42, which is no multiple of `encoder.patch_px`, 8");
    /// ```
    pub fn validate(&self) -> Result<(), BrokenRule> {
        let mut rules = self
            .bounds()
            .into_iter()
            .chain(self.parts())
            .chain(self.sizes());
        if let Some((_, broken)) = rules.find(|(holds, _)| !holds) {
            return Err(broken.into());
        }
        self.head.validate()?;
        bands::check("bands", &self.bands)?;
        bands::check("mags", self.mags())?;
        let of_inputs = self
            .preprocess
            .validate(self.bands.len(), self.mags().len());
        of_inputs?;
        Ok(self.validate_training_inputs()?)
    }

    fn validate_training_inputs(&self) -> Result<(), String> {
        let Some(training_inputs) = &self.training_inputs else {
            return Ok(());
        };
        if self.architecture == Architecture::Mae {
            return Err(
                "`training_inputs`: a `mae` predicts no redshifts, so it has none".to_owned(),
            );
        }
        let needs = self.needs();
        let mags = needs.mags_required.then_some(needs.mags.len());
        let cutouts = needs
            .cutouts
            .map(|cutouts| (cutouts.bands.len(), cutouts.px));
        training_inputs.validate(mags.unwrap_or(0), cutouts)
    }

    fn bounds(&self) -> [Rule; 4] {
        let EncoderConfig {
            kind,
            width,
            mlp_ratio,
            pcm_kernel,
            ..
        } = self.encoder;
        let decoder_width = self.decoder.as_ref().map_or(0, |decoder| decoder.width);
        [
            (
                width.max(decoder_width) <= WIDTH_MAX,
                format!("`width` is {}, above {WIDTH_MAX}", width.max(decoder_width)),
            ),
            (
                mlp_ratio <= MLP_RATIO_MAX,
                format!("`mlp_ratio` is {mlp_ratio}, above {MLP_RATIO_MAX}"),
            ),
            (
                self.cutout_px <= CUTOUT_PX_MAX,
                format!("`cutout_px` is {}, above {CUTOUT_PX_MAX}", self.cutout_px),
            ),
            (
                kind == EncoderKind::Plain || pcm_kernel <= PCM_KERNEL_MAX,
                format!("`pcm_kernel` is {pcm_kernel}, above {PCM_KERNEL_MAX}"),
            ),
        ]
    }

    /// The bands, the branches and the decoder.
    fn parts(&self) -> [Rule; 6] {
        let is_mae = self.architecture == Architecture::Mae;
        let fits = |decoder: &DecoderConfig| {
            divides(decoder.heads, decoder.width)
                && decoder.width.is_multiple_of(4)
                && (1..=DEPTH_MAX).contains(&decoder.depth)
        };
        [
            (
                !self.bands.is_empty(),
                "`bands` is empty: name the bands of the cutouts, such as [\"g\", \"r\", \"z\"]"
                    .to_owned(),
            ),
            (
                !self.mags().is_empty() || !self.has(Branch::Magnitude),
                "`mags` is empty, but the branch `magnitude` predicts from magnitudes: name their bands, or leave \
                 `mags` out if they are those of `bands`"
                    .to_owned(),
            ),
            (
                is_mae || !self.branches.is_empty(),
                "`branches` is empty: nothing feeds the head".to_owned(),
            ),
            (
                self.decoder.is_some() == is_mae
                    && (!is_mae || self.branches.is_empty() && self.head.is_point()),
                "a `mae` has a `decoder` and neither `branches` nor `head`, any other architecture the reverse"
                    .to_owned(),
            ),
            (
                self.decoder.as_ref().is_none_or(fits),
                format!(
                    "`decoder`: `heads` must divide `width`, a multiple of 4, and `depth` be from 1 to {DEPTH_MAX}"
                ),
            ),
            (
                self.ordered_branches().len() == self.branches.len(),
                "`branches` names one branch twice".to_owned(),
            ),
        ]
    }

    /// The sizes of the cutout and the encoder.
    fn sizes(&self) -> [Rule; 7] {
        let EncoderConfig {
            kind,
            width,
            depth,
            heads,
            mlp_ratio,
            patch_px,
            pcm_kernel,
            pcm_group,
        } = self.encoder;
        let px = self.cutout_px;
        [
            (px >= 8, format!("`cutout_px` is {px}, below 8")),
            (
                divides(patch_px, px),
                format!(
                    "`cutout_px` is {px}, which is no multiple of `encoder.patch_px`, {patch_px}"
                ),
            ),
            (
                divides(heads, width),
                format!("`heads` {heads} does not divide `width` {width}"),
            ),
            (
                width.is_multiple_of(4),
                format!("`width` {width} is not a multiple of 4"),
            ),
            (
                (1..=DEPTH_MAX).contains(&depth) && mlp_ratio > 0,
                format!("`depth` must be from 1 to {DEPTH_MAX}, and `mlp_ratio` above 0"),
            ),
            (
                kind == EncoderKind::Plain || pcm_kernel % 2 == 1,
                format!("`pcm_kernel` {pcm_kernel} is not odd"),
            ),
            (
                kind == EncoderKind::Plain || divides(pcm_group, width),
                format!("`pcm_group` {pcm_group} does not divide `width` {width}"),
            ),
        ]
    }
}

pub(super) fn divides(part: usize, whole: usize) -> bool {
    part > 0 && whole > 0 && whole.is_multiple_of(part)
}
