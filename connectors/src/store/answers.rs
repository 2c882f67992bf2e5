//! Answers of a store that report success although the request failed.
//!
//! S3 may answer a copy, a bulk delete or a listing with the status 200 and an error in the body. The client of
//! object_store reads that as a copy that was made, or as an empty folder. This module changes the status to 503. So the
//! client repeats the request, and reports the error if it persists.
use futures::{TryStreamExt, future::BoxFuture};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService, ReqwestConnector,
    },
};

/// Connects to stores and checks the answers that may hide an error.
#[derive(Debug, Default)]
pub(crate) struct CheckedConnector(ReqwestConnector);

#[derive(Debug)]
struct CheckedService(HttpClient);

impl HttpConnector for CheckedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // reqwest takes the library for TLS that the process names. A program that has named another keeps it.
        let _already_named = rustls::crypto::ring::default_provider().install_default();
        let client = self.0.connect(options)?;
        Ok(HttpClient::new(CheckedService(client)))
    }
}

// Written as the macro `async_trait` would expand it, because the project does not depend on `async_trait`.
impl HttpService for CheckedService {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> BoxFuture<'f, Result<HttpResponse, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let may_hide_error = may_hide_error(request.method().as_str(), request.uri().query());
            let answer = self.0.execute(request).await?;
            match may_hide_error && answer.status().as_u16() == 200 {
                true => checked(answer).await,
                false => Ok(answer),
            }
        })
    }
}

/// Whether an answer may hide an error. Such answers are short: they belong to listings and to requests that change the
/// store, not to reads of objects.
fn may_hide_error(method: &str, query: Option<&str>) -> bool {
    match method {
        "GET" => query.is_some_and(|query| query.contains("list-type=")),
        method => method != "HEAD",
    }
}

/// Reads the body, and changes the status if the body is an error.
async fn checked(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut parts, body) = answer.into_parts();
    let body: Vec<bytes::Bytes> = body.bytes_stream().try_collect().await?;
    let body = body.concat();
    if is_error(&body)
        && let Ok(unavailable) = 503.try_into()
    {
        parts.status = unavailable;
    }
    Ok(HttpResponse::from_parts(
        parts,
        HttpResponseBody::from(body),
    ))
}

/// Whether the outermost element of an XML document is `Error`.
fn is_error(body: &[u8]) -> bool {
    // Everything before the element fits into these bytes. The rest may be a megabyte of names.
    let head = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    let mut head = head.trim_start_matches('\u{feff}').trim_start();
    while let Some((_prologue, rest)) = head
        .strip_prefix("<?")
        .and_then(|prologue| prologue.split_once("?>"))
    {
        head = rest.trim_start();
    }
    let element = head.strip_prefix("<Error");
    element.is_some_and(|rest| {
        rest.starts_with(|next: char| next == '>' || next == '/' || next.is_whitespace())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_from_what_it_may_be_mistaken_for() {
        let error = "<Error><Code>ServiceUnavailable</Code></Error>";
        let with_prologue = format!("<?xml version=\"1.0\"?>\n{error}");
        for body in [
            error,
            &with_prologue,
            "\u{feff}<Error xmlns=\"x\">",
            "<Error/>",
        ] {
            assert!(is_error(body.as_bytes()), "{body}");
        }
        let result = "<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>";
        for body in ["", "PAR1", "<ErrorResponse>", "<CopyObjectResult/>", result] {
            assert!(!is_error(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn the_bodies_of_objects_are_left_alone() {
        assert!(!may_hide_error("GET", None));
        assert!(!may_hide_error("GET", Some("versionId=1")));
        assert!(!may_hide_error("HEAD", None));
        assert!(may_hide_error("GET", Some("list-type=2&prefix=a")));
        assert!(may_hide_error("PUT", None) && may_hide_error("POST", Some("delete")));
    }
}
