//! Opens remote stores, with the options that the tools of each store read from environment variables.
//!
//! An empty variable counts as unset. An error names the variable that cannot be used. Values that may be passwords are
//! never printed.
use std::{str::FromStr, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    list::PaginatedListStore,
};

use crate::store::{
    answers::CheckedConnector,
    aws_profile::with_profile,
    options::{StoreOptions, check_url, is_on},
    scheme::StoreKind,
};

/// Variables that must be URLs.
const URLS: [&str; 14] = [
    "aws_endpoint_url",
    "aws_endpoint",
    "aws_endpoint_url_s3",
    "aws_endpoint_url_sts",
    "aws_metadata_endpoint",
    "aws_container_credentials_full_uri",
    "google_base_url",
    "azure_storage_endpoint",
    "azure_endpoint",
    "azure_storage_authority_host",
    "azure_authority_host",
    "azure_msi_endpoint",
    "azure_identity_endpoint",
    "azurite_blob_storage_url",
];
/// Variables that are endpoints for objects. All of them are in [`URLS`].
const ENDPOINTS: [&str; 5] = [
    "aws_endpoint_url",
    "aws_endpoint",
    "aws_endpoint_url_s3",
    "azure_storage_endpoint",
    "azure_endpoint",
];

/// Opens the store of a URL. No request is made yet.
///
/// # Errors
/// A message that says what is wrong with the URL or with a variable.
pub(crate) fn open(kind: StoreKind, url: &str, options: &StoreOptions) -> Result<Shared, String> {
    let set: Vec<(String, String)> = options
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .cloned()
        .collect();
    let options = match kind {
        StoreKind::S3 => known::<AmazonS3ConfigKey>(&with_profile(&set)?, "aws_"),
        StoreKind::Google => known::<GoogleConfigKey>(&set, "google_"),
        StoreKind::Azure => {
            check_emulator(options)?;
            known::<AzureConfigKey>(&set, "azure_")
        }
    };
    for (name, value) in &options {
        check(name, value)?;
    }
    let build = |options: &StoreOptions| match kind {
        StoreKind::S3 => s3(url, options),
        StoreKind::Google => google(url, options),
        StoreKind::Azure => azure(url, options),
    };
    build(&options).map_err(|error| explain(&error, &options, build))
}

/// The options of one family of variables that its store knows.
fn known<K: FromStr>(options: &StoreOptions, family: &str) -> Vec<(String, String)> {
    let is_known = |name: &str| name.starts_with(family) && name.parse::<K>().is_ok();
    let options = options.iter().filter(|(name, _)| is_known(name));
    options.cloned().collect()
}

/// Checks the variable of the Azure emulator. object_store reads this variable itself, even if it is empty.
fn check_emulator(options: &StoreOptions) -> Result<(), String> {
    let get = |name: &str| options.iter().find(|(key, _)| key == name);
    let is_used = get("azure_storage_use_emulator").is_some_and(|(_, value)| is_on(value));
    match get("azurite_blob_storage_url") {
        Some((name, value)) if is_used => check(name, value),
        _ => Ok(()),
    }
}

/// Refuses a value that makes a store fail without a clear message.
fn check(name: &str, value: &str) -> Result<(), String> {
    let variable = name.to_ascii_uppercase();
    let is_free = ["file", "path", "service_account", "credentials", "cert"]
        .iter()
        .any(|word| name.contains(word));
    if URLS.contains(&name) {
        return check_url(&variable, value);
    }
    // Most variables go into the headers of a request.
    if !is_free && !value.chars().all(|c| matches!(c, ' '..='~')) {
        return Err(format!(
            "{variable} holds a line break or another character that no request can carry; set it again"
        ));
    }
    let is_region = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if ["aws_region", "aws_default_region"].contains(&name) && !value.chars().all(is_region) {
        return Err(format!(
            "{variable} is {value:?}, and must be like us-east-1"
        ));
    }
    Ok(())
}

/// Explains an error: finds a variable without which the store can be opened, or fails in a different way.
fn explain(
    error: &object_store::Error,
    options: &StoreOptions,
    build: impl Fn(&StoreOptions) -> object_store::Result<Shared>,
) -> String {
    let whole = error.to_string();
    let without = |left_out: usize| {
        let others = options.iter().enumerate();
        let others = others.filter(|(place, _)| *place != left_out);
        let others: Vec<_> = others.map(|(_, option)| option.clone()).collect();
        build(&others).err().map(|error| error.to_string())
    };
    let outcomes: Vec<Option<String>> = (0..options.len()).map(without).collect();
    let culprit = outcomes.iter().position(Option::is_none).or_else(|| {
        let mut outcomes = outcomes.iter();
        outcomes.position(|outcome| outcome.as_ref() != Some(&whole))
    });
    match culprit.map(|place| &options[place]) {
        None => whole,
        Some((name, value)) => {
            let whole = whole.replace(value.as_str(), "…");
            format!("{}: {whole}", name.to_ascii_uppercase())
        }
    }
}

/// A store to read and write objects, and the same store to list objects page by page.
pub(crate) type Shared = (Arc<dyn ObjectStore>, Option<Arc<dyn PaginatedListStore>>);

fn shared(store: impl ObjectStore + PaginatedListStore) -> Shared {
    let store = Arc::new(store);
    (store.clone(), Some(store))
}

/// Repeats failed requests for half a minute.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 6,
        retry_timeout: Duration::from_secs(30),
        ..Default::default()
    }
}

/// Sets long timeouts, because a body may take long on a slow line.
fn patience() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(Duration::from_secs(300))
        .with_connect_timeout(Duration::from_secs(5))
}

/// Whether an endpoint is reached without encryption. Naming such an endpoint is enough; no second switch is needed.
fn is_plain_http(options: &StoreOptions) -> bool {
    options.iter().any(|(name, value)| {
        let is_http = value.trim_start().to_ascii_lowercase().starts_with("http:");
        ENDPOINTS.contains(&name.as_str()) && is_http
    })
}

/// Makes a builder with the settings that all stores share. (object_store's builders share no trait.)
macro_rules! builder {
    ($builder:ident, $url:expr, $options:expr, $client:expr) => {{
        let builder = $builder::new()
            .with_url($url)
            .with_http_connector(CheckedConnector::default())
            .with_retry(retries())
            .with_client_options($client);
        let options = $options.iter();
        let parsed = options.filter_map(|(name, value)| Some((name.parse().ok()?, value)));
        parsed.fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        })
    }};
}

fn s3(url: &str, options: &StoreOptions) -> object_store::Result<Shared> {
    let builder = builder!(AmazonS3Builder, url, options, patience());
    let builder = match is_plain_http(options) {
        true => builder.with_allow_http(true),
        false => builder,
    };
    Ok(shared(builder.build()?))
}

fn google(url: &str, options: &StoreOptions) -> object_store::Result<Shared> {
    // Emulators are reached without encryption, as in object_store itself.
    let client = patience().with_allow_http(true);
    Ok(shared(
        builder!(GoogleCloudStorageBuilder, url, options, client).build()?,
    ))
}

fn azure(url: &str, options: &StoreOptions) -> object_store::Result<Shared> {
    let builder = builder!(MicrosoftAzureBuilder, url, options, patience());
    let builder = match is_plain_http(options) {
        true => builder.with_allow_http(true),
        false => builder,
    };
    Ok(shared(builder.build()?))
}
