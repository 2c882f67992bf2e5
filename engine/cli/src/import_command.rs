//! `hubbleflow import`: image files become a drop, a pickled network a model directory.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use connectors::Location;
use hubbleflow::StoreOptions;
use import::{ImportSettings, Imported, Without, import_images, weights};
use models::import::{Given, ImportedTensors, import_astroclip, import_weights, is_astroclip};

use crate::{
    Error,
    args::{BandArgs, LocalPath},
    console::{json, print},
};

/// What can be imported.
#[derive(Subcommand)]
pub enum ImportCommand {
    /// Make a drop of image files: PyTorch's .pt (a TensorDataset, tuple or dict of tensors), numpy's .npz
    Images(ImagesArgs),
    /// Make a model directory of a network that PyTorch has saved: a module or a state_dict of AstroMAE, or AstroCLIP's checkpoint
    Model(ModelArgs),
}

/// `hubbleflow import images`
#[derive(Args)]
pub struct ImagesArgs {
    /// The files, in the order of the rows
    #[arg(required = true, value_name = "FILE", value_parser = LocalPath)]
    files: Vec<PathBuf>,
    /// The new drop: a URL or a path, CATALOG/NAME
    #[arg(long, value_name = "CATALOG/NAME")]
    to: String,
    /// Take a column from this field of the files (`labels.z`, or `z` alone); COLUMN= for none
    #[arg(long, value_name = "COLUMN=FIELD", value_parser = column)]
    column: Vec<(String, String)>,
    /// The bands.
    #[command(flatten)]
    bands: BandArgs,
    /// Number the rows from N, where the files have no object ids
    #[arg(long, value_name = "N")]
    first_id: Option<i64>,
    /// A CSV file with the columns ra and dec (perhaps object_id) and a line for each row
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    positions: Option<PathBuf>,
    /// Do without what the files do not have: positions (every row at ra 0, dec 0), mags
    #[arg(long, value_enum, value_name = "WHAT")]
    without: Vec<Lack>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `hubbleflow import model`
#[derive(Args)]
pub struct ModelArgs {
    /// What torch.save has written
    #[arg(value_parser = LocalPath)]
    file: PathBuf,
    /// The model's directory
    #[arg(long, value_name = "DIR", value_parser = LocalPath)]
    to: PathBuf,
    /// Heads of the attention, where the file does not tell (a state_dict)
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// The bands of its cutouts, in the network's order; may be left out if they are u,g,r,i,z
    #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
    bands: Option<Vec<String>>,
    /// The bands of its magnitudes, in the network's order; may be left out if they are those of the cutouts
    #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
    mags: Option<Vec<String>>,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lack {
    Positions,
    Mags,
}

fn column(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (column, field) = pair.ok_or("write COLUMN=FIELD, as cutout=image")?;
    Ok((column.to_owned(), field.to_owned()))
}

/// Carries out the command.
///
/// # Errors
/// Those of [`import_images`], [`weights`] and [`import_weights`].
pub async fn import(command: ImportCommand, options: &StoreOptions) -> Result<u8, Error> {
    match command {
        ImportCommand::Images(args) => {
            let imported = images(&args, options).await?;
            if args.json {
                print(json(&imported))?;
            } else {
                print(format_args!("{}: {imported}", args.to))?;
            }
        }
        ImportCommand::Model(args) => model(&args)?,
    }
    Ok(0)
}

async fn images(args: &ImagesArgs, options: &StoreOptions) -> Result<Imported, Error> {
    let settings = ImportSettings {
        columns: args.column.clone(),
        bands: args.bands.bands.clone(),
        first_id: args.first_id,
        positions: args.positions.clone(),
        without: args
            .without
            .iter()
            .map(|lack| match lack {
                Lack::Positions => Without::Positions,
                Lack::Mags => Without::Mags,
            })
            .collect(),
    };
    let place = Location::open(&args.to, options)?;
    let bar = indicatif::ProgressBar::new(0);
    let imported = import_images(&place, &args.files, &settings, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })
    .await;
    bar.finish_and_clear();
    Ok(imported?)
}

fn model(args: &ModelArgs) -> Result<(), Error> {
    let found = weights(&args.file)?;
    let name = args.name.clone();
    let name = name.unwrap_or_else(|| format!("imported from {}", file_name(&args.file)));
    let class = found.class.as_deref().unwrap_or("a state_dict").to_owned();
    let tensors = found.tensors.len();
    let imported = ImportedTensors {
        tensors: found.tensors,
        numbers: found.numbers,
    };
    let given = Given {
        heads: args.heads,
        bands: args.bands.clone(),
        mags: args.mags.clone(),
    };
    let (to, file) = (&args.to, &args.file);
    let config = if is_astroclip(&imported) {
        let config = import_astroclip(to, file, imported, &name, &given)?;
        serde_json::to_string(&config)
    } else {
        serde_json::to_string(&import_weights(to, file, imported, &name, &given)?)
    };
    let to = args.to.display();
    print(format_args!("{to}: {tensors} tensors of {class}"))?;
    let config = config.expect("a configuration is plain data");
    print(format_args!(
        "{config}\ntry it: hubbleflow model check {to}"
    ))?;
    Ok(())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
