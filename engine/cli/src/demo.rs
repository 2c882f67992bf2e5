//! `hubbleflow demo`: the whole job on this machine, from nothing to predictions.
//!
//! A sample survey lies on an S3 server of this process; a cluster of processes of this program reads it there and
//! commits its predictions there. Everything stays in one folder, so a second demo finds its work done.
use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::Args;
use connectors::Location;
use tokio::runtime::Runtime;

use hubbleflow::{StoreOptions, status::status};
use s3_server::S3Server;

use crate::{
    Error,
    args::{LocalPath, SampleArgs, local},
    bundled,
    console::print,
    report::report,
    supervise::supervise,
};

const KEY: &str = "hubbleflow";
const SECRET: &str = "hubbleflow-demo";
const BUCKET: &str = "survey";
const CATALOG: &str = "s3://survey/catalog";
const OUT: &str = "s3://survey/photoz";

/// What the demo makes.
// The bundled model has seen the other galaxies' parents.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("parents", |parents| parents.default_value("test")))]
pub struct DemoArgs {
    /// Where everything goes
    #[arg(long, default_value = ".demo", value_parser = LocalPath)]
    pub dir: PathBuf,
    /// Processes of the cluster
    #[arg(long, default_value_t = 2, value_parser = local)]
    pub local: usize,
    /// A model's directory, in place of the bundled one
    #[arg(long, default_value = bundled::NAME, value_parser = LocalPath)]
    pub model: PathBuf,
    #[command(flatten)]
    sample: SampleArgs,
}

/// Runs the demo; answers the exit code of its cluster.
///
/// # Errors
/// Where the folder cannot be written, or the survey not made.
pub fn demo(args: &DemoArgs, runtime: &Runtime) -> Result<u8, Error> {
    let root = args.dir.join("s3");
    std::fs::create_dir_all(&root)
        .map_err(|source| Error::io(root.display().to_string(), source))?;
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = runtime
        .block_on(S3Server::start(&root, address, KEY, SECRET))
        .map_err(|source| Error::io("starting the S3 server", source))?;
    server
        .create_bucket(BUCKET)
        .map_err(|source| Error::io("making the bucket", source))?;
    print(format_args!(
        "An S3 server at {} serves {}.",
        server.endpoint(),
        root.display()
    ))?;
    let environment = [
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let options: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    runtime.block_on(survey(args, &options))?;
    let model = bundled::resolve(args.model.clone())?;

    print(format_args!(
        "\nA cluster of {} processes reads {CATALOG}, predicts, and commits to {OUT}:",
        args.local
    ))?;
    let command = ["run", CATALOG, "--out", OUT, "--model"].map(OsString::from);
    let command: Vec<OsString> = command
        .into_iter()
        .chain([model.into_os_string()])
        .collect();
    let code = supervise(&command, args.local, 0, &environment, None)?;

    print(format_args!(
        "\n{}",
        runtime.block_on(status(OUT, None, &options))?
    ))?;
    write_report(args, &options, runtime)?;
    let photoz = root.join(BUCKET).join("photoz").join("photoz");
    print(format_args!(
        "\nThe predictions are Parquet, for any reader: {}",
        photoz.display()
    ))?;
    print(
        "The cutouts are rendered from real photometry, so these scores are scores on rendered cutouts.",
    )?;
    print("Run it again: what is committed is not done twice.")?;
    runtime.block_on(server.shutdown());
    Ok(code)
}

/// Writes the report into the demo's folder, where there is anything to report.
fn write_report(args: &DemoArgs, options: &StoreOptions, runtime: &Runtime) -> Result<(), Error> {
    let page = args.dir.join("report.html");
    match runtime.block_on(report(OUT, options)) {
        Ok(text) => {
            std::fs::write(&page, text)
                .map_err(|source| Error::io(page.display().to_string(), source))?;
            print(format_args!(
                "\nThe report, with plots, is one page: {}",
                page.display()
            ))?;
        }
        Err(error) => print(format_args!("\nNo report: {error}"))?,
    }
    Ok(())
}

/// Makes the survey, unless an earlier demo has.
async fn survey(args: &DemoArgs, options: &StoreOptions) -> Result<(), Error> {
    let place = Location::open(CATALOG, options)?;
    let there = connectors::catalog::drops(&place, connectors::DropBy::Child).await?;
    if !there.is_empty() {
        print(format_args!(
            "The sample survey is there: {} drops in {CATALOG}.",
            there.len()
        ))?;
        return Ok(());
    }
    print(format_args!(
        "Rendering a sample survey of {} galaxies into {CATALOG} …",
        args.sample.galaxies
    ))?;
    let settings = args.sample.settings();
    let made = sample::sample(place.store, place.prefix, &settings, |_rows| ()).await;
    print(format_args!(
        "{}",
        made.map_err(|error| Error::sample(CATALOG, error))?
    ))?;
    Ok(())
}
