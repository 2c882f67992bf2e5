//! What two processes of a cluster tell each other first, on each connection between them.
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::ClusterError;

/// How long a greeting may take, and how long a host may take to answer that it is there.
const GREETING: Duration = Duration::from_secs(5);
/// Upper bound on the size of a greeting.
const GREETING_BYTES_MAX: u32 = 1 << 20;

/// What processes tell each other first.
#[derive(Serialize, Deserialize)]
pub(crate) struct Greeting {
    pub(crate) process: usize,
    /// Whether this connection is for heartbeats; else it is for the workers.
    pub(crate) heartbeats: bool,
    pub(crate) agreement: serde_json::Map<String, serde_json::Value>,
    /// Why the other side may not join.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
}

/// Connects to a host that answers within [`GREETING`], at any of its addresses.
pub(crate) fn connect(host: &str) -> std::io::Result<TcpStream> {
    let mut failed = ErrorKind::AddrNotAvailable.into();
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, GREETING) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Whether the other side of a connection on which nothing is said is still there.
pub(crate) fn is_connected(socket: &TcpStream) -> bool {
    let looked = socket
        .set_nonblocking(true)
        .and_then(|()| socket.peek(&mut [0]));
    let is_there = match looked {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    is_there && socket.set_nonblocking(false).is_ok()
}

/// Tells the other side who this is, and hears who it is.
pub(crate) fn greet(socket: &mut TcpStream, greeting: &Greeting) -> std::io::Result<Greeting> {
    prepare(socket)?;
    tell_greeting(socket, greeting)?;
    let greeted = hear(socket)?;
    settle(socket)?;
    Ok(greeted)
}

/// A greeting is waited for, and not for long.
pub(crate) fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(GREETING))?;
    socket.set_read_timeout(Some(GREETING))
}

/// After the greetings there may be silence.
pub(crate) fn settle(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_write_timeout(None)?;
    socket.set_read_timeout(None)
}

pub(crate) fn tell_greeting(socket: &mut TcpStream, greeting: &Greeting) -> std::io::Result<()> {
    let text = serde_json::to_vec(greeting)?;
    socket.write_all(&(text.len() as u32).to_le_bytes())?;
    socket.write_all(&text)
}

pub(crate) fn hear(socket: &mut TcpStream) -> std::io::Result<Greeting> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > GREETING_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

pub(crate) fn agree(ours: &Greeting, theirs: &Greeting) -> Result<(), ClusterError> {
    let keys = ours.agreement.keys().chain(theirs.agreement.keys());
    let Some(key) = keys
        .into_iter()
        .find(|key| ours.agreement.get(*key) != theirs.agreement.get(*key))
    else {
        return Ok(());
    };
    let show = |greeting: &Greeting| {
        greeting
            .agreement
            .get(key)
            .map_or("not set".to_owned(), ToString::to_string)
    };
    Err(ClusterError::Disagreement {
        processes: [ours.process, theirs.process],
        setting: key.clone(),
        values: [show(ours), show(theirs)],
    })
}

/// Greets whoever is at the other end, for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_greeting(socket: &mut TcpStream) {
    let ours = Greeting {
        process: 1,
        heartbeats: false,
        agreement: serde_json::Map::new(),
        refusal: None,
    };
    if let Ok(theirs) = greet(socket, &ours) {
        let _ = agree(&ours, &theirs);
    }
}
