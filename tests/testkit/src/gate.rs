//! An HTTP server in front of an S3 server: for each request the test decides whether it is answered or passed on.
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
};

use crate::processes::wait_until;

/// The first line and the header fields of an HTTP request.
pub struct RequestHead(String);

impl RequestHead {
    /// The method: `GET`, `PUT`, …
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The path and the query, percent-encoded: bucket, key and parameters.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// Whether the request changes the store.
    pub fn writes(&self) -> bool {
        !matches!(self.method(), "GET" | "HEAD")
    }

    fn word(&self, place: usize) -> &str {
        self.0.split(' ').nth(place).unwrap()
    }

    fn body_bytes(&self) -> usize {
        let lower = self.0.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        length.map_or(0, |length| length.parse().unwrap())
    }
}

/// What the gate does with a request.
pub enum Verdict {
    /// Answers with this status and body.
    Answer(&'static str, &'static str),
    /// Passes the request on to the server at this endpoint.
    Pass(String),
    /// Passes the request on, and drops the answer.
    LoseAnswer(String),
    /// Passes the request on, and sends half of the answer.
    CutAnswer(String),
}

/// The answer of S3 to a request that the credentials do not allow.
pub const DENIED: Verdict = Verdict::Answer(
    "403 Forbidden",
    "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
);

/// A point at which requests wait until a test releases them.
#[derive(Clone, Default)]
pub struct HoldPoint(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl HoldPoint {
    /// Records that a request has reached the point, without a wait.
    pub fn mark_reached(&self) {
        self.0.0.lock().unwrap().0 += 1;
    }

    /// Whether a request has reached the point.
    pub fn is_reached(&self) -> bool {
        self.0.0.lock().unwrap().0 > 0
    }

    /// Makes a request wait, unless the point is released.
    pub fn hold(&self) {
        self.mark_reached();
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        while !state.1 {
            state = changed.wait(state).unwrap();
        }
    }

    /// Waits until a request has reached the point.
    pub fn wait_until_reached(&self) {
        wait_until("a request reaches the hold point", || self.is_reached());
    }

    /// Releases all requests that wait, and all later ones.
    pub fn release(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

/// Starts a server that ends with the test binary. Returns its endpoint.
pub fn start_gate(judge: impl Fn(&RequestHead) -> Verdict + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let judge = Arc::new(judge);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, judge) = (stream.unwrap(), judge.clone());
            // An error means that the client hung up, which it may do at any time.
            std::thread::spawn(move || answer(stream, &*judge).ok());
        }
    });
    endpoint
}

/// Answers one request and closes the connection.
fn answer(mut client: TcpStream, judge: impl Fn(&RequestHead) -> Verdict) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let head = RequestHead(head);
    let mut body = vec![0; head.body_bytes()];
    reader.read_exact(&mut body)?;
    match judge(&head) {
        Verdict::Answer(status, text) => {
            let length = text.len();
            write!(
                client,
                "HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            )
        }
        Verdict::Pass(endpoint) => {
            let mut server = pass(&endpoint, &head, &body)?;
            io::copy(&mut server, &mut client).map(drop)
        }
        Verdict::LoseAnswer(endpoint) => {
            let mut server = pass(&endpoint, &head, &body)?;
            io::copy(&mut server, &mut io::sink()).map(drop)
        }
        Verdict::CutAnswer(endpoint) => {
            let mut answer = Vec::new();
            pass(&endpoint, &head, &body)?.read_to_end(&mut answer)?;
            client.write_all(&answer[..answer.len() / 2])
        }
    }
}

/// Sends a request to the server, and tells it to close the connection after its answer.
fn pass(endpoint: &str, head: &RequestHead, body: &[u8]) -> io::Result<TcpStream> {
    let mut server = TcpStream::connect(endpoint.trim_start_matches("http://"))?;
    let (first, fields) = head.0.split_once("\r\n").expect("a head has lines");
    write!(server, "{first}\r\nConnection: close\r\n{fields}")?;
    server.write_all(body)?;
    Ok(server)
}
