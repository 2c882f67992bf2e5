//! An HTTP server that does with each request what a test says: answers it, or passes it on to an S3 server.
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
};

use crate::survey::until;

/// The first line of a request and its fields.
pub struct Head(String);

impl Head {
    /// `GET`, `PUT`, …
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The object's bucket and key, percent-encoded, and what is asked of it.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// Whether the store is another afterwards.
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

/// What becomes of a request.
pub enum Verdict {
    /// It is answered by this status and body.
    Answer(&'static str, &'static str),
    /// It is passed on to the server at this endpoint.
    Pass(String),
    /// It is passed on, and the answer never comes.
    Lose(String),
    /// It is passed on, and half of the answer comes.
    Cut(String),
}

/// What S3 says to those who may not do what they ask for.
pub const DENIED: Verdict = Verdict::Answer(
    "403 Forbidden",
    "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
);

/// A moment at which requests are held up until a test lets them go.
#[derive(Clone, Default)]
pub struct Moment(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl Moment {
    /// It has come.
    pub fn come(&self) {
        self.0.0.lock().unwrap().0 += 1;
    }

    /// Whether it has come: whether a request was held up.
    pub fn has_come(&self) -> bool {
        self.0.0.lock().unwrap().0 > 0
    }

    /// Holds a request up, unless the moment is over.
    pub fn hold(&self) {
        self.come();
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        while !state.1 {
            state = changed.wait(state).unwrap();
        }
    }

    /// Waits until it has come.
    pub fn wait(&self) {
        until("the moment comes", || self.has_come());
    }

    /// Lets all requests go, and those to come.
    pub fn end(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

/// Starts a server that ends with the tests: its endpoint.
pub fn gate(judge: impl Fn(&Head) -> Verdict + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let judge = Arc::new(judge);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, judge) = (stream.unwrap(), judge.clone());
            // A client may hang up at any time.
            std::thread::spawn(move || answer(stream, &*judge).ok());
        }
    });
    endpoint
}

/// Answers one request, and hangs up.
fn answer(mut client: TcpStream, judge: impl Fn(&Head) -> Verdict) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let head = Head(head);
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
        Verdict::Lose(endpoint) => {
            let mut server = pass(&endpoint, &head, &body)?;
            io::copy(&mut server, &mut io::sink()).map(drop)
        }
        Verdict::Cut(endpoint) => {
            let mut answer = Vec::new();
            pass(&endpoint, &head, &body)?.read_to_end(&mut answer)?;
            client.write_all(&answer[..answer.len() / 2])
        }
    }
}

/// Makes a request of the server, which hangs up after its answer.
fn pass(endpoint: &str, head: &Head, body: &[u8]) -> io::Result<TcpStream> {
    let mut server = TcpStream::connect(endpoint.trim_start_matches("http://"))?;
    let (first, fields) = head.0.split_once("\r\n").expect("a head has lines");
    write!(server, "{first}\r\nConnection: close\r\n{fields}")?;
    server.write_all(body)?;
    Ok(server)
}
