//! Which requests are refused.

use std::future::ready;
use std::path::PathBuf;

use futures::future::BoxFuture;
use hyper::Method;
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};

/// Refuses requests that S3 refuses and `s3s-fs` accepts: a write to a missing bucket, which `s3s-fs` would create, and a
/// read of a folder as an object. Also refuses requests that are not signed, as `s3s` does by default.
pub(crate) struct AccessRules {
    /// The folder of the buckets.
    pub(crate) root: PathBuf,
}

impl AccessRules {
    fn judge(&self, request: &S3AccessContext<'_>) -> S3Result<()> {
        if request.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        }
        let (bucket, key) = match request.s3_path() {
            S3Path::Root => return Ok(()),
            S3Path::Bucket { bucket } => (bucket, ""),
            S3Path::Object { bucket, key } => (bucket, key.trim_start_matches('/')),
        };
        let folder = self.root.join(&**bucket);
        if !folder.is_dir() && request.s3_op().name() != "CreateBucket" {
            return Err(s3_error!(NoSuchBucket));
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if reads && !key.is_empty() && folder.join(key).is_dir() {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(())
    }
}

impl S3Access for AccessRules {
    // The signature that `async_trait` generates for `async fn check(&self, …)`.
    fn check<'rules, 'request, 'context, 'answer>(
        &'rules self,
        request: &'request mut S3AccessContext<'context>,
    ) -> BoxFuture<'answer, S3Result<()>>
    where
        'rules: 'answer,
        'request: 'answer,
        'context: 'answer,
        Self: 'answer,
    {
        Box::pin(ready(self.judge(request)))
    }
}
