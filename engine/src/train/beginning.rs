//! What a fine-tuning begins with: the configuration of its network, and weights that are not random.
use connectors::{
    Catalog, DropBy, Location,
    galaxy::{ColumnNames, EmbeddingColumns, Request},
};
use models::{
    Architecture, Checkpoint, Config, HeadConfig, InputName, Precision, architecture_of,
    config::Shape,
};

use super::{
    drops::drops_to_read,
    settings::{EncoderStart, FinetuneSettings, TrainSettings},
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
}

impl Beginning<HeadConfig> {
    /// The beginning of a head on embeddings; `None` if another network is to be trained.
    pub async fn of_head(
        settings: &FinetuneSettings,
        options: &StoreOptions,
    ) -> Result<Option<Self>, Error> {
        let train = &settings.train;
        let (mut config, weights) = match (&settings.from, &settings.inputs) {
            (Some(dir), _) if architecture_of(dir)? == Architecture::Head => {
                let (config, weights) = models::train::trained_head(dir)?;
                (config, Some(weights))
            }
            (None, Some(inputs)) => {
                check_inputs(inputs, train)?;
                (new_head(inputs, train, options).await?, None)
            }
            _ => return Ok(None),
        };
        if settings.encoder.is_some() || settings.pretrained.is_some() {
            return Err(SettingsError::EncoderOfHead.into());
        }
        if train.precision.or(Precision::Fp32) != Precision::Fp32 {
            return Err(SettingsError::HeadPrecision.into());
        }
        if let Some(name) = &train.name {
            config.name.clone_from(name);
        }
        Ok(Some(Self {
            config,
            weights,
            encoder: EncoderStart::Scratch,
        }))
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
async fn new_head(
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
    let network = |reason| SettingsError::Network { reason };
    Ok(HeadConfig::new(HEAD_NAME, width, &mags).map_err(network)?)
}

impl Beginning<Config> {
    /// The beginning of an AstroMAE.
    pub fn of(settings: &FinetuneSettings) -> Result<Self, Error> {
        if let Some(dir) = &settings.from {
            let (mut config, weights) = models::train::trained(dir)?;
            if let Some(name) = &settings.train.name {
                config.name.clone_from(name);
            }
            return Ok(Self {
                config,
                weights: Some(weights),
                encoder: settings.encoder.unwrap_or(EncoderStart::Tuned),
            });
        }
        let mut config = settings.train.config()?;
        config.branches.clone_from(&settings.branches);
        let Some(dir) = &settings.pretrained else {
            check_network(&config)?;
            // An encoder may be random and frozen: pretraining is compared with it.
            return Ok(Self {
                config,
                weights: None,
                encoder: settings.encoder.unwrap_or(EncoderStart::Scratch),
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
        })
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
