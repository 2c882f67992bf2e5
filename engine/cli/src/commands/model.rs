//! `hubbleflow model`: looks at a model, or makes one.
use std::path::Path;

use hubbleflow::{
    StoreOptions,
    model::{ModelDirectory, model_directory},
};
use models::{
    Config, Precision,
    config::{ASTROCLIP, AstroClipConfig, HeadKind, Shape},
};

use crate::{
    Error,
    args::HeadChoice,
    bundled,
    command::ModelCommand,
    console::{print, show},
};

/// `hubbleflow model`
pub(crate) async fn model(command: ModelCommand, options: &StoreOptions) -> Result<u8, Error> {
    match command {
        ModelCommand::Inspect { dir, json } => {
            let dir = directory(&dir, options).await?;
            show(json, &models::inspect(&dir.path)?)?;
        }
        ModelCommand::Check {
            dir,
            device,
            precision,
        } => {
            let device = device.resolve(0)?;
            let dir = directory(&dir, options).await?;
            let precision =
                models::precision(&dir.path, precision, Precision::fastest(device, None))?;
            let checked = models::check(&dir.path, device, precision)?;
            print(&checked)?;
            if !checked.finite {
                return Ok(1);
            }
        }
        ModelCommand::Init {
            dir,
            preset,
            depth,
            bands,
            mags,
            px,
            head,
            seed,
        } => {
            let shape = Shape {
                bands,
                mags,
                cutout_px: px,
            };
            init(&dir, &preset, depth, shape, head, &seed)?;
            print(format_args!(
                "{}: an initialised model; it has learned nothing, so its predictions mean nothing",
                dir.display()
            ))?;
        }
    }
    Ok(0)
}

/// Finds the directory of a model that a user named.
async fn directory(name: &str, options: &StoreOptions) -> Result<ModelDirectory, Error> {
    Ok(model_directory(&bundled::resolve_url(name)?, options).await?)
}

/// Writes a model with initial weights.
fn init(
    dir: &Path,
    preset: &str,
    depth: Option<usize>,
    shape: Shape,
    head: Option<HeadChoice>,
    seed: &str,
) -> Result<(), Error> {
    let usage = |broken| Error::Usage(format!("there is no such network: {broken}"));
    if preset == ASTROCLIP {
        if shape.mags.is_some() {
            let reason = "--mags: an astroclip looks at cutouts alone";
            return Err(Error::Usage(reason.to_owned()));
        }
        if head.is_some() {
            let reason = "--head: an astroclip gives no redshift";
            return Err(Error::Usage(reason.to_owned()));
        }
        let mut config = AstroClipConfig::public();
        config.encoder.depth = depth.unwrap_or(config.encoder.depth);
        config.bands = shape.bands.unwrap_or(config.bands);
        config.cutout_px = shape.cutout_px.unwrap_or(config.cutout_px);
        config.validate().map_err(usage)?;
        return Ok(models::init::astroclip(dir, &config, seed)?);
    }
    let mut config = Config::preset(preset).expect("the command line admits presets alone");
    config.encoder.depth = depth.unwrap_or(config.encoder.depth);
    if let Some(HeadChoice::Quantiles) = head {
        config.head = HeadKind::quantiles();
    }
    let config = config.shaped(&shape);
    config.validate().map_err(usage)?;
    Ok(models::init::init(dir, &config, seed)?)
}
