//! Options of stores, and the checks that their values pass.
use crate::store::scheme::redacted;

/// Options of stores by their lower-case names, such as `aws_endpoint_url`. The caller takes them from the environment.
pub type StoreOptions = [(String, String)];

/// Whether the value of a switch means "on", by the rules of object_store.
pub(crate) fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ["1", "true", "on", "yes", "y"].contains(&value.as_str())
}

/// Makes sure that a variable is the URL of a server. With other values object_store panics or fails without a message.
pub(crate) fn check_url(variable: &str, value: &str) -> Result<(), String> {
    let url = url::Url::parse(value).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url.filter(|_| !value.contains(|c: char| c.is_whitespace() || c.is_control()))
    else {
        return Err(format!(
            "{variable} is {:?}, and must be like http://host:9000 or https://host",
            redacted(value)
        ));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{variable} holds a user name or a password; give keys in the variables of the store, and the host alone here"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{variable} has a ? or # after its path; give only the host, and a token in its own variable"
        ));
    }
    Ok(())
}
