//! What a fine-tuning begins with: the configuration of its network, and weights that are not random.
use connectors::{
    Catalog, DropBy, Location,
    galaxy::{ColumnNames, EmbeddingColumns, Request},
};
use models::{
    Architecture, Checkpoint, Config, HeadConfig, InputName, Precision, architecture_of,
    config::{HeadKind, Shape},
    train::{Trainable, with_head},
};

use super::{
    drops::drops_to_read,
    observer::TrainObserver,
    settings::{EncoderStart, FinetuneSettings, HeadChoice, TrainSettings},
};
use crate::{Error, SettingsError, StoreOptions};

/// The name of a head that has no other.
const HEAD_NAME: &str = "head";

/// What a fine-tuning begins with.
pub(super) struct Beginning<C> {
    pub config: C,
    /// Those that are not random.
    pub weights: Option<Checkpoint>,
    pub encoder: EncoderStart,
    /// Whether the weights have the last layer too.
    pub has_last_layer: bool,
}

impl<C: Trainable> Beginning<C> {
    /// Goes on from a model. If its head is not the one that is asked for, the last layer begins anew.
    fn going_on(
        model: (C, Checkpoint),
        encoder: EncoderStart,
        settings: &FinetuneSettings,
        observer: &dyn TrainObserver,
    ) -> Result<Self, Error> {
        let so_far = model.0.head().clone();
        let head = HeadChoice::kind(settings.head, Some(&so_far));
        check_loss(settings, &head)?;
        let (config, weights, is_new) = with_head(model, head);
        if is_new {
            observer.head_begins_anew(&so_far, config.head());
        }
        Ok(Self {
            config,
            weights: Some(weights),
            encoder,
            has_last_layer: !is_new,
        })
    }
}

impl Beginning<HeadConfig> {
    /// The beginning of a head on embeddings; `None` if another network is to be trained.
    pub async fn of_head(
        settings: &FinetuneSettings,
        options: &StoreOptions,
        observer: &dyn TrainObserver,
    ) -> Result<Option<Self>, Error> {
        let mut beginning = match (&settings.from, &settings.inputs) {
            (Some(dir), _) if architecture_of(dir)? == Architecture::Head => {
                check_head(settings)?;
                let model = models::train::trained_head(dir)?;
                Self::going_on(model, EncoderStart::Scratch, settings, observer)?
            }
            (None, Some(inputs)) => {
                check_inputs(inputs, &settings.train)?;
                check_head(settings)?;
                Self::new_head(inputs, settings, options).await?
            }
            _ => return Ok(None),
        };
        if let Some(name) = &settings.train.name {
            beginning.config.name.clone_from(name);
        }
        Ok(Some(beginning))
    }

    /// A new head on the embeddings of the catalog.
    async fn new_head(
        inputs: &[InputName],
        settings: &FinetuneSettings,
        options: &StoreOptions,
    ) -> Result<Self, Error> {
        let head = HeadChoice::kind(settings.head, None);
        check_loss(settings, &head)?;
        let mut config = config_of_head(inputs, &settings.train, options).await?;
        config.set_head(head);
        Ok(Self {
            config,
            weights: None,
            encoder: EncoderStart::Scratch,
            has_last_layer: false,
        })
    }
}

/// Refuses what a head does not have: an encoder, and other numbers than float32.
fn check_head(settings: &FinetuneSettings) -> Result<(), SettingsError> {
    if settings.encoder.is_some() || settings.pretrained.is_some() {
        return Err(SettingsError::EncoderOfHead);
    }
    match settings.train.precision.or(Precision::Fp32) {
        Precision::Fp32 => Ok(()),
        _ => Err(SettingsError::HeadPrecision),
    }
}

/// Refuses inputs that no head takes.
fn check_inputs(inputs: &[InputName], train: &TrainSettings) -> Result<(), SettingsError> {
    let takes_mags = match inputs {
        [InputName::Embedding] => false,
        [InputName::Embedding, InputName::Mags] | [InputName::Mags, InputName::Embedding] => true,
        _ => {
            let inputs = inputs.iter().map(ToString::to_string).collect::<Vec<_>>();
            let inputs = inputs.join(",");
            return Err(SettingsError::HeadInputs { inputs });
        }
    };
    match takes_mags || train.shape.mags.is_none() {
        true => Ok(()),
        false => Err(SettingsError::MagsOfNoInput),
    }
}

/// The configuration of a new head on the embeddings of the catalog.
async fn config_of_head(
    inputs: &[InputName],
    train: &TrainSettings,
    options: &StoreOptions,
) -> Result<HeadConfig, Error> {
    let location = Location::open(&train.catalog, options)?;
    let request = Request {
        names: ColumnNames::parse(&train.rows.columns).map_err(SettingsError::from)?,
        ..Request::default()
    };
    let catalog = Catalog::new(location, DropBy::Child, request);
    let drops = drops_to_read(&catalog, train).await?;
    let place = || train.catalog.clone();
    let found = catalog.embedding_columns(&drops).await?;
    let EmbeddingColumns { width, mags } =
        found.ok_or_else(|| SettingsError::NoEmbeddings { catalog: place() })?;
    let mags = match inputs.contains(&InputName::Mags) {
        true => train.shape.mags.clone().unwrap_or(mags),
        false => Vec::new(),
    };
    if mags.is_empty() && inputs.contains(&InputName::Mags) {
        return Err(SettingsError::NoMagsBesideEmbeddings { catalog: place() }.into());
    }
    let network = |broken| SettingsError::Network { broken };
    Ok(HeadConfig::new(HEAD_NAME, width, &mags).map_err(network)?)
}

impl Beginning<Config> {
    /// The beginning of an AstroMAE.
    pub fn of(settings: &FinetuneSettings, observer: &dyn TrainObserver) -> Result<Self, Error> {
        if let Some(dir) = &settings.from {
            let mut model = models::train::trained(dir)?;
            if let Some(name) = &settings.train.name {
                model.0.name.clone_from(name);
            }
            let encoder = settings.encoder.unwrap_or(EncoderStart::Tuned);
            return Self::going_on(model, encoder, settings, observer);
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
                has_last_layer: false,
            });
        };
        let (of, trunk) = models::train::pretrained(dir)?;
        let shape = &settings.train.shape;
        check_cutouts(&settings.train, &of)?;
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
            has_last_layer: false,
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
    let network = |broken| SettingsError::Network { broken };
    config.validate().map_err(network)
}

/// Refuses other cutouts than those that an encoder was pretrained on.
fn check_cutouts(train: &TrainSettings, pretrained: &Config) -> Result<(), SettingsError> {
    let (shape, asked) = (&train.shape, &train.dereddening);
    let dereddening = pretrained.preprocess.cutout.dereddening();
    if !asked.is_empty() && asked != dereddening {
        let (asked, dereddening) = (asked.clone(), dereddening.to_vec());
        return Err(SettingsError::PretrainedDereddening { asked, dereddening });
    }
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
