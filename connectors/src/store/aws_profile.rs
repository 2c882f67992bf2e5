//! The profiles of the AWS command line (`~/.aws/credentials`, `~/.aws/config`), which object_store does not read.
//!
//! All credentials come from one source, as with the AWS tools:
//!
//! | the options name | credentials |
//! |---|---|
//! | an access key | this key with its secret and token; profiles are ignored |
//! | `AWS_PROFILE` | from this profile, or else from the container or the machine |
//! | a web identity or a container | from there |
//! | none of these | from the profile `default`, or else from the machine |
//!
//! Region and endpoint come from the profile if the options do not name them.
use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption, Properties};

use crate::{
    store::options::{StoreOptions, check_url, is_on},
    text::read_text,
};

/// Upper bound on the size of a file of profiles.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Keys of a profile that name another source of credentials. Hubbleflow does not support these sources.
const OTHER_SOURCES: [&str; 5] = [
    "sso_session",
    "sso_start_url",
    "credential_process",
    "web_identity_token_file",
    "credential_source",
];

/// A profile, and the files that define it.
struct Profile {
    name: String,
    sections: Vec<(PathBuf, Properties)>,
}

/// Adds the keys, the token, the region and the endpoint of the chosen profile to the options of object_store.
///
/// # Errors
/// A message that says what is wrong with the profile: it is missing or incomplete, or it takes its credentials from a
/// source that is not supported.
pub fn with_profile(given: &StoreOptions) -> Result<Vec<(String, String)>, String> {
    let has = |names: &[&str]| names.iter().any(|name| get(given, name).is_some());
    let profile = Profile::read(given)?;
    let mut options = given.to_vec();
    if !has(&["aws_region", "aws_default_region"]) {
        let region = profile.property("region").map(|(_, region)| region);
        options.extend(region.map(|region| ("aws_region".to_owned(), region.to_owned())));
    }
    if !has(&["aws_endpoint_url", "aws_endpoint", "aws_endpoint_url_s3"])
        && !get(given, "aws_ignore_configured_endpoint_urls").is_some_and(is_on)
        && let Some((file, endpoint)) = profile.property("endpoint_url")
    {
        let of = format!(
            "endpoint_url of profile {} in {}",
            profile.name,
            file.display()
        );
        check_url(&of, endpoint)?;
        options.push(("aws_endpoint_url".to_owned(), endpoint.to_owned()));
    }
    let others = [
        "aws_web_identity_token_file",
        "aws_container_credentials_relative_uri",
        "aws_container_credentials_full_uri",
    ];
    let is_outdone = has(&["aws_access_key_id", "aws_secret_access_key"])
        || get(given, "aws_skip_signature").is_some_and(is_on)
        || (get(given, "aws_profile").is_none() && has(&others));
    if !is_outdone && let Some(credentials) = profile.credentials()? {
        // A token from the environment belongs to other keys.
        options.retain(|(name, _)| !["aws_session_token", "aws_token"].contains(&name.as_str()));
        options.extend(credentials);
    }
    Ok(options)
}

fn get<'a>(options: &'a StoreOptions, name: &str) -> Option<&'a str> {
    let found = options.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

impl Profile {
    /// The profile that the options choose, or `default`. It has no sections if no profile is chosen and `default` is missing.
    fn read(given: &StoreOptions) -> Result<Self, String> {
        let chosen = get(given, "aws_profile");
        let name = chosen.unwrap_or("default").to_owned();
        let file = |variable: &str, name: &str| {
            let named = get(given, variable).map(PathBuf::from);
            named.or_else(|| Some(PathBuf::from(get(given, "home")?).join(".aws").join(name)))
        };
        let files: Vec<PathBuf> = [
            file("aws_shared_credentials_file", "credentials"),
            file("aws_config_file", "config"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut sections = Vec::new();
        for file in &files {
            let section = section(file, &name)?;
            sections.extend(section.map(|section| (file.clone(), section)));
        }
        if chosen.is_some() && sections.is_empty() {
            let files: Vec<String> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let place = match files.is_empty() {
                true => "~/.aws: HOME is not set".to_owned(),
                false => files.join(" or "),
            };
            return Err(format!(
                "AWS_PROFILE names the profile {name}, and it is not in {place}; correct the name, or unset the variable"
            ));
        }
        Ok(Self { name, sections })
    }

    /// A property, and the file that defines it.
    fn property(&self, key: &str) -> Option<(&Path, &str)> {
        self.sections.iter().find_map(|(file, section)| {
            let value = section.get(key).map(str::trim);
            Some((file.as_path(), value.filter(|value| !value.is_empty())?))
        })
    }

    /// The key, the secret and the token. All come from the first file that has any of them.
    fn credentials(&self) -> Result<Option<Vec<(String, String)>>, String> {
        if self.property("role_arn").is_some() {
            return Err(self.elsewhere("role_arn"));
        }
        for (file, section) in &self.sections {
            let value = |key: &str| section.get(key).map(str::trim).filter(|v| !v.is_empty());
            let (id, secret) = (value("aws_access_key_id"), value("aws_secret_access_key"));
            let (Some(id), Some(secret)) = (id, secret) else {
                if id.is_some() || secret.is_some() {
                    return Err(format!(
                        "profile {} in {} has one of aws_access_key_id and aws_secret_access_key; give both",
                        self.name,
                        file.display()
                    ));
                }
                continue;
            };
            let token = value("aws_session_token");
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let mut found = vec![
                pair("aws_access_key_id", id),
                pair("aws_secret_access_key", secret),
            ];
            found.extend(token.map(|token| pair("aws_session_token", token)));
            return Ok(Some(found));
        }
        let other = OTHER_SOURCES
            .into_iter()
            .find(|key| self.property(key).is_some());
        match other {
            Some(key) => Err(self.elsewhere(key)),
            None => Ok(None),
        }
    }

    fn elsewhere(&self, key: &str) -> String {
        let name = &self.name;
        format!(
            "profile {name} takes its credentials by {key}, which hubbleflow does not follow; run `eval \"$(aws configure export-credentials --profile {name} --format env)\"` before this command, and unset AWS_PROFILE"
        )
    }
}

/// The section of a profile in a file, or `None` if the file or the section is missing.
fn section(file: &Path, profile: &str) -> Result<Option<Properties>, String> {
    let text = match read_text(file, FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let plain = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        ..Default::default()
    };
    let ini = Ini::load_from_str_opt(&text, plain)
        .map_err(|error| format!("{}, line {}: {}", file.display(), error.line, error.msg))?;
    // Profiles are called `[sky]` in one file and `[profile sky]` in the other.
    let is_ours = |name: &str| {
        let name = name.trim();
        let rest = name.strip_prefix("profile");
        let rest = rest.filter(|rest| rest.starts_with(char::is_whitespace));
        rest.unwrap_or(name).trim().trim_matches('"') == profile
    };
    let found = ini
        .iter()
        .find(|(name, _)| name.is_some_and(is_ours))
        .map(|(_, properties)| properties.clone());
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn home(credentials: &str, config: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        home
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    /// The options that a profile adds and removes, and the options themselves.
    fn options(
        home: &tempfile::TempDir,
        given: &[(&str, &str)],
    ) -> Result<Vec<(String, String)>, String> {
        let here = pair("home", home.path().to_str().unwrap());
        let mut all = vec![here.clone()];
        all.extend(given.iter().map(|(name, value)| pair(name, value)));
        let mut found = with_profile(&all)?;
        found.retain(|option| *option != here && option.0 != "aws_profile");
        Ok(found)
    }

    #[test]
    fn a_profile_gives_keys_region_and_endpoint() {
        let home = home(
            "[default]\naws_access_key_id = A\naws_secret_access_key = B\n[sky]\naws_access_key_id = C\naws_secret_access_key = D\n",
            "[profile sky]\nregion = eu-west-1\nendpoint_url = http://sky:9000\n",
        );
        assert_eq!(
            options(&home, &[("aws_profile", "sky")]).unwrap(),
            [
                pair("aws_region", "eu-west-1"),
                pair("aws_endpoint_url", "http://sky:9000"),
                pair("aws_access_key_id", "C"),
                pair("aws_secret_access_key", "D"),
            ]
        );
        assert_eq!(
            options(&home, &[]).unwrap()[0],
            pair("aws_access_key_id", "A")
        );
        let own = [("aws_access_key_id", "own")];
        assert_eq!(
            options(&home, &own).unwrap(),
            [pair("aws_access_key_id", "own")]
        );
    }

    #[test]
    fn credentials_come_whole_from_one_source() {
        let home = home(
            "[sky]\naws_access_key_id = C\naws_secret_access_key = D\n",
            "[profile sky]\naws_session_token = of other keys\nregion = eu-west-1\n",
        );
        // Keys of the environment are used without the token of the profile, but with its region.
        let own = [
            ("aws_profile", "sky"),
            ("aws_access_key_id", "A"),
            ("aws_secret_access_key", "B"),
        ];
        assert_eq!(
            options(&home, &own).unwrap(),
            [
                pair("aws_access_key_id", "A"),
                pair("aws_secret_access_key", "B"),
                pair("aws_region", "eu-west-1"),
            ]
        );
        // Keys of the profile are used without a token of the environment or of another file.
        let stale = [("aws_profile", "sky"), ("aws_session_token", "stale")];
        assert_eq!(
            options(&home, &stale).unwrap(),
            [
                pair("aws_region", "eu-west-1"),
                pair("aws_access_key_id", "C"),
                pair("aws_secret_access_key", "D"),
            ]
        );
    }

    #[test]
    fn a_profile_that_cannot_be_used_is_named() {
        let home = home(
            "[half]\naws_access_key_id = A\n",
            "[profile sso]\nsso_session = corp\n[profile process]\ncredential_process = /bin/keys\n[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = half\n[profile url]\nendpoint_url = http://user:secret@sky\n",
        );
        for (profile, words) in [
            ("nope", "AWS_PROFILE names the profile nope"),
            ("half", "profile half in "),
            ("sso", "profile sso takes its credentials by sso_session"),
            (
                "process",
                "profile process takes its credentials by credential_process",
            ),
            ("role", "profile role takes its credentials by role_arn"),
            ("url", "endpoint_url of profile url in "),
        ] {
            let error = options(&home, &[("aws_profile", profile)]).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("secret@"), "{error}");
        }
        // Requests without a signature, or with other keys, need no credentials of a profile.
        let unsigned = [("aws_profile", "sso"), ("aws_skip_signature", "true")];
        assert!(options(&home, &unsigned).is_ok());
        let own = [
            ("aws_profile", "sso"),
            ("aws_access_key_id", "A"),
            ("aws_secret_access_key", "B"),
        ];
        assert!(options(&home, &own).is_ok());
    }
}
