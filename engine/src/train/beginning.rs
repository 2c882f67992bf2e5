//! What a fine-tuning begins with: the configuration of its network, and weights that are not random.
use models::{
    Checkpoint, Config,
    config::{HeadKind, Shape},
    train::with_head,
};

use super::{
    observer::TrainObserver,
    settings::{EncoderStart, FinetuneSettings, HeadChoice},
};
use crate::{Error, SettingsError};

/// What a fine-tuning begins with.
pub(super) struct Beginning {
    pub config: Config,
    /// Those that are not random.
    pub weights: Option<Checkpoint>,
    pub encoder: EncoderStart,
    /// Whether the weights have the last layer too.
    pub has_head: bool,
}

impl Beginning {
    pub fn of(settings: &FinetuneSettings, observer: &dyn TrainObserver) -> Result<Self, Error> {
        if let Some(dir) = &settings.from {
            let (config, weights) = models::train::trained(dir)?;
            let so_far = config.head.clone();
            let head = HeadChoice::kind(settings.head, Some(&so_far));
            check_loss(settings, &head)?;
            let (mut config, weights, is_new) = with_head((config, weights), head);
            if is_new {
                observer.head_begins_anew(&so_far, &config.head);
            }
            if let Some(name) = &settings.train.name {
                config.name.clone_from(name);
            }
            return Ok(Self {
                config,
                weights: Some(weights),
                encoder: settings.encoder.unwrap_or(EncoderStart::Tuned),
                has_head: !is_new,
            });
        }
        let mut config = settings.train.config()?;
        config.branches.clone_from(&settings.branches);
        config.head = HeadChoice::kind(settings.head, None);
        check_loss(settings, &config.head)?;
        let Some(dir) = &settings.pretrained else {
            check_network(&config)?;
            // An encoder may be random and frozen: pretraining is compared with it.
            return Ok(Self {
                config,
                weights: None,
                encoder: settings.encoder.unwrap_or(EncoderStart::Scratch),
                has_head: false,
            });
        };
        let (of, trunk) = models::train::pretrained(dir)?;
        let shape = &settings.train.shape;
        check_shape(shape, &of)?;
        config.encoder = of.encoder;
        config.preprocess.cutout = of.preprocess.cutout;
        config = config.shaped(&Shape {
            bands: Some(of.bands),
            mags: shape.mags.clone(),
            cutout_px: Some(of.cutout_px),
        });
        check_network(&config)?;
        Ok(Self {
            config,
            weights: Some(trunk),
            encoder: settings.encoder.unwrap_or(EncoderStart::Frozen),
            has_head: false,
        })
    }
}

/// Refuses the loss of a point head for quantiles.
fn check_loss(settings: &FinetuneSettings, head: &HeadKind) -> Result<(), SettingsError> {
    match (settings.loss, head) {
        (Some(_), HeadKind::Quantiles { .. }) => Err(SettingsError::LossOfQuantiles),
        _ => Ok(()),
    }
}

/// Refuses a network that cannot be, before anything is read for it.
pub(super) fn check_network(config: &Config) -> Result<(), SettingsError> {
    let network = |reason| SettingsError::Network { reason };
    config.validate().map_err(network)
}

/// Refuses another shape than that of the cutouts that an encoder was pretrained on.
fn check_shape(shape: &Shape, pretrained: &Config) -> Result<(), SettingsError> {
    let (bands, px) = (&pretrained.bands, pretrained.cutout_px);
    if let Some(asked) = shape.bands.as_ref().filter(|asked| *asked != bands) {
        let [asked, bands] = [asked, bands].map(|bands| bands.join(","));
        return Err(SettingsError::PretrainedBands { asked, bands });
    }
    match shape.cutout_px {
        Some(asked) if asked != px => Err(SettingsError::PretrainedPx { asked, px }),
        _ => Ok(()),
    }
}
