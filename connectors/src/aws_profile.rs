//! The profiles of the AWS command line (`~/.aws/credentials`, `~/.aws/config`), which object_store does not read.
use std::path::PathBuf;

use ini::Ini;

use crate::location::StoreOptions;

/// What the chosen profile adds to the options: keys, token, region and endpoint, as options of object_store.
///
/// Keys that are given outright win, and so does every other way to credentials that the environment names.
pub fn options(given: &StoreOptions) -> Vec<(String, String)> {
    let get = |name: &str| {
        given
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let others = [
        "aws_access_key_id",
        "aws_web_identity_token_file",
        "aws_container_credentials_relative_uri",
    ];
    if get("aws_profile").is_none() && (others.iter().any(|name| get(name).is_some())) {
        return Vec::new();
    }
    let profile = get("aws_profile").unwrap_or("default");
    let file = |variable: &str, name: &str| {
        get(variable)
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(get("home")?).join(".aws").join(name)))
    };
    let sections = [
        (
            file("aws_shared_credentials_file", "credentials"),
            profile.to_owned(),
        ),
        (
            file("aws_config_file", "config"),
            if profile == "default" {
                profile.to_owned()
            } else {
                format!("profile {profile}")
            },
        ),
    ];
    let mut found: Vec<(String, String)> = Vec::new();
    for (file, section) in sections {
        let Some(ini) = file.and_then(|file| Ini::load_from_file(file).ok()) else {
            continue;
        };
        let Some(properties) = ini.section(Some(section)) else {
            continue;
        };
        for (key, option) in [
            ("aws_access_key_id", "aws_access_key_id"),
            ("aws_secret_access_key", "aws_secret_access_key"),
            ("aws_session_token", "aws_session_token"),
            ("region", "aws_region"),
            ("endpoint_url", "aws_endpoint_url"),
        ] {
            let known = get(option).is_some() || found.iter().any(|(name, _)| name == option);
            if let (Some(value), false) = (properties.get(key), known) {
                found.push((option.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_gives_keys_region_and_endpoint() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(
            home.path().join(".aws/credentials"),
            "[default]\naws_access_key_id = A\naws_secret_access_key = B\n[sky]\naws_access_key_id = C\naws_secret_access_key = D\n",
        )
        .unwrap();
        std::fs::write(
            home.path().join(".aws/config"),
            "[profile sky]\nregion = eu-west-1\n",
        )
        .unwrap();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let here = pair("home", home.path().to_str().unwrap());
        assert_eq!(
            options(&[here.clone(), pair("aws_profile", "sky")]),
            [
                pair("aws_access_key_id", "C"),
                pair("aws_secret_access_key", "D"),
                pair("aws_region", "eu-west-1")
            ]
        );
        assert_eq!(
            options(std::slice::from_ref(&here))[0],
            pair("aws_access_key_id", "A")
        );
        assert_eq!(options(&[here, pair("aws_access_key_id", "own")]), []);
    }
}
