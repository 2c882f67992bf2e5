//! Accepts connections and serves them.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

use crate::request_handler::RequestHandler;

/// How long open requests may take to finish after the server is told to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until the server stops. Then waits up to [`GRACE`] for the open connections.
pub(crate) async fn accept(
    listener: TcpListener,
    handler: RequestHandler,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop_requested(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                connections.spawn(serve(socket, handler.clone(), stopped.clone()));
            }
            // Most likely the file descriptors are used up. Some become free when connections end.
            Err(error) => {
                debug!(%error, "S3 server: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        debug!("S3 server: requests were still open and are dropped");
    }
}

/// Serves one connection until the client closes it or the server stops.
async fn serve(socket: TcpStream, handler: RequestHandler, mut stopped: watch::Receiver<bool>) {
    // Small answers must not wait for more data. Without the option they are late, but complete.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { handler.answer(request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop_requested(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "S3 server: a connection was lost");
    }
}

/// Waits until the server is told to stop.
async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped, which stops it too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
