//! Answers requests, conditional writes one at a time.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{IF_MATCH, IF_NONE_MATCH};
use hyper::{Method, Request};
use s3s::service::S3Service;
use tokio::sync::Mutex;

/// Answers the requests of all connections.
#[derive(Clone)]
pub(crate) struct RequestHandler {
    s3: S3Service,
    /// Held during a conditional write. `s3s-fs` first checks whether the object exists and then writes it, so without the
    /// lock several clients that create the same object at the same time would all succeed.
    conditional: Arc<Mutex<()>>,
}

impl RequestHandler {
    pub(crate) fn new(s3: S3Service) -> Self {
        Self {
            s3,
            conditional: Arc::new(Mutex::new(())),
        }
    }

    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<s3s::HttpResponse, s3s::HttpError> {
        let headers = request.headers();
        let is_conditional = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MATCH);
        let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let _lock = if is_conditional && writes {
            Some(self.conditional.lock().await)
        } else {
            None
        };
        self.s3.call(request.map(s3s::Body::from)).await
    }
}
