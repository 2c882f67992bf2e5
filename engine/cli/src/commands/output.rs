//! The commands that read an output, and `sample`.
use connectors::Location;
use hubbleflow::{
    Places, Plan, StoreOptions,
    export::{self, ExportSettings},
    status, verify,
};
use indicatif::ProgressBar;
use models::Precision;
use tch::Device;

use crate::{
    Error,
    args::{CatalogArgs, SampleCommand},
    bundled,
    command::{ExportArgs, ReportArgs, StatusArgs, VerifyArgs},
    console::{print, show},
};

/// `hubbleflow plan`; 3 if a drop cannot be read.
pub(crate) async fn plan(args: &CatalogArgs, options: &StoreOptions) -> Result<u8, Error> {
    let dir = hubbleflow::model::model_directory(&args.model()?, options).await?;
    let model = models::load(&dir.path, Device::Cpu, Precision::Fp32)?;
    let places = Places::open(&args.catalog, &args.out, options)?;
    let plan = Plan::new(&args.settings(), model.as_ref(), places)?;
    let planned = plan.preview().await?;
    show(args.json, &planned)?;
    let fails = planned.drops.iter().any(|drop| drop.failure.is_some());
    Ok(if fails { 3 } else { 0 })
}

/// `hubbleflow status`
pub(crate) async fn status(args: &StatusArgs, options: &StoreOptions) -> Result<u8, Error> {
    let status = status::status(&args.out, args.as_of.as_deref(), options).await?;
    show(args.json, &status)?;
    Ok(0)
}

/// `hubbleflow verify`; 1 if anything is wrong.
pub(crate) async fn verify(args: VerifyArgs, options: &StoreOptions) -> Result<u8, Error> {
    let again = match args.catalog.zip(args.model) {
        Some((catalog, model)) => Some(verify::Again {
            catalog,
            model: bundled::resolve_url(&model)?,
        }),
        None => None,
    };
    let verified = verify::verify(&args.out, again.as_ref(), options).await?;
    show(args.json, &verified)?;
    Ok(u8::from(!verified.faults.is_empty()))
}

/// `hubbleflow export`
pub(crate) async fn export(args: &ExportArgs, options: &StoreOptions) -> Result<u8, Error> {
    let settings = ExportSettings {
        out: &args.out,
        to: &args.to,
        as_of: args.as_of.as_deref(),
        qp: args.qp.as_deref(),
        memory_bytes: args.memory.0,
    };
    let exported = export::export(&settings, options).await?;
    show(args.json, &exported)?;
    Ok(0)
}

/// `hubbleflow report`
pub(crate) async fn report(args: &ReportArgs, options: &StoreOptions) -> Result<u8, Error> {
    let page = crate::report::report(&args.out, options).await?;
    let file = args.html.display();
    std::fs::write(&args.html, page).map_err(|source| Error::io(file.to_string(), source))?;
    print(file)?;
    Ok(0)
}

/// `hubbleflow sample`
pub(crate) async fn sample(command: &SampleCommand, options: &StoreOptions) -> Result<u8, Error> {
    let settings = command.settings()?;
    let place = Location::open(&command.out, options)?;
    let bar = ProgressBar::new(command.args.galaxies);
    let tell = |rows| bar.set_position(rows);
    let made = sample::sample(place.store, place.prefix, &settings, tell).await;
    bar.finish_and_clear();
    let made = made.map_err(|error| Error::sample(&command.out, error))?;
    print(format_args!("{}: {made}", command.out))?;
    Ok(0)
}
