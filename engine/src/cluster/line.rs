//! A connection while its two processes greet each other. Before the other process has proved the cluster's key, this
//! process tells it nothing, and allocates nothing for it.
use std::{
    future::Future,
    io::{Error, ErrorKind, Result},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    channel::Channel,
    hello::{HELLO_BYTES, Hello},
    key::ClusterKey,
    noise::{self, Cipher, HANDSHAKE_BYTES, unproven},
};

/// How long a process waits for another process to connect, or to answer.
const GREETING: Duration = Duration::from_secs(5);
/// Upper bound on the bytes of a message.
const SAID_BYTES_MAX: u32 = 1 << 20;

/// A connection on which the two processes greet each other.
pub(super) struct Line {
    socket: TcpStream,
    /// To write and to read with.
    ciphers: Option<[Cipher; 2]>,
}

/// Waits for the other side, at most [`GREETING`] long.
pub(super) async fn in_time<T>(said: impl Future<Output = Result<T>>) -> Result<T> {
    let waited = tokio::time::timeout(GREETING, said).await;
    waited.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

impl Line {
    /// Dials a process, and proves to each other that both have the key.
    ///
    /// # Errors
    /// The system's; a process without the key ends the connection.
    pub async fn dial(address: &str, hello: Hello, key: Option<&ClusterKey>) -> Result<Self> {
        let mut socket = in_time(TcpStream::connect(address)).await?;
        in_time(async {
            socket.set_nodelay(true)?;
            let hello = hello.to_bytes();
            socket.write_all(&hello).await?;
            let ciphers = match key {
                None => None,
                Some(key) => Some(prove(&mut socket, &hello, key).await.map_err(no_key)?),
            };
            Ok(Self { socket, ciphers })
        })
        .await
    }

    /// Answers a process that has dialled.
    ///
    /// # Errors
    /// If the process sends no hello, or does not prove the key.
    pub async fn answer(mut socket: TcpStream, key: Option<&ClusterKey>) -> Result<(Hello, Self)> {
        socket.set_nodelay(true)?;
        let mut bytes = [0; HELLO_BYTES];
        socket.read_exact(&mut bytes).await?;
        let hello = Hello::from_bytes(&bytes).filter(|hello| hello.is_sealed == key.is_some());
        let hello = hello.ok_or(ErrorKind::InvalidData)?;
        let ciphers = match key {
            None => None,
            Some(key) => Some(demand_proof(&mut socket, &bytes, key).await?),
        };
        Ok((hello, Self { socket, ciphers }))
    }

    /// Sends a message.
    pub async fn tell(&mut self, said: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(said)?;
        let length = u32::try_from(text.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let bytes = [&length.to_le_bytes(), text.as_slice()].concat();
        let Some([cipher, _]) = &mut self.ciphers else {
            return self.socket.write_all(&bytes).await;
        };
        let mut frames = Vec::new();
        cipher.seal(&bytes, &mut frames)?;
        self.socket.write_all(&frames).await
    }

    /// Receives a message. Memory is allocated as the bytes come.
    pub async fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let said = match self.ciphers {
            None => self.hear_plain().await?,
            Some(_) => self.hear_sealed().await?,
        };
        Ok(serde_json::from_slice(&said)?)
    }

    async fn hear_plain(&mut self) -> Result<Vec<u8>> {
        let length = checked(self.socket.read_u32_le().await?)?;
        let mut said = Vec::new();
        let socket = &mut self.socket;
        socket.take(length as u64).read_to_end(&mut said).await?;
        match said.len() == length {
            true => Ok(said),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Each message begins with a frame of its own.
    async fn hear_sealed(&mut self) -> Result<Vec<u8>> {
        let mut said = self.open_frame().await?;
        let length = said.first_chunk::<4>().ok_or(ErrorKind::InvalidData)?;
        let length = checked(u32::from_le_bytes(*length))?;
        said.drain(..4);
        while said.len() < length {
            said.extend(self.open_frame().await?);
        }
        match said.len() == length {
            true => Ok(said),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }

    async fn open_frame(&mut self) -> Result<Vec<u8>> {
        let Some([_, cipher]) = &mut self.ciphers else {
            return Ok(Vec::new());
        };
        let mut sealed = vec![0; usize::from(self.socket.read_u16_le().await?)];
        self.socket.read_exact(&mut sealed).await?;
        let mut plain = vec![0; sealed.len()];
        let bytes = cipher.open(&sealed, &mut plain)?;
        plain.truncate(bytes);
        Ok(plain)
    }

    /// Whether the other side, which has nothing to say now, is still there.
    pub fn is_connected(&self) -> bool {
        match self.socket.try_read(&mut [0]) {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    /// The connection, when the greetings are over.
    pub fn into_channel(self) -> Result<Channel> {
        let socket = self.socket.into_std()?;
        socket.set_nonblocking(false)?;
        Ok(Channel::new(socket, self.ciphers))
    }
}

fn checked(length: u32) -> Result<usize> {
    match length {
        0..=SAID_BYTES_MAX => Ok(length as usize),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// The handshake of the side that dials.
async fn prove(socket: &mut TcpStream, prologue: &[u8], key: &ClusterKey) -> Result<[Cipher; 2]> {
    let mut handshake = noise::begin(key, prologue, true)?;
    let mut message = [0; HANDSHAKE_BYTES];
    handshake
        .write_message(&[], &mut message)
        .map_err(unproven)?;
    socket.write_all(&message).await?;
    socket.read_exact(&mut message).await?;
    handshake
        .read_message(&message, &mut [0; HANDSHAKE_BYTES])
        .map_err(unproven)?;
    Cipher::pair(handshake)
}

/// The handshake of the side that answers. The first message proves the key. Somebody may have recorded this message and
/// sent it again; then nothing that follows can be decrypted.
async fn demand_proof(
    socket: &mut TcpStream,
    prologue: &[u8],
    key: &ClusterKey,
) -> Result<[Cipher; 2]> {
    let mut handshake = noise::begin(key, prologue, false)?;
    let mut message = [0; HANDSHAKE_BYTES];
    socket.read_exact(&mut message).await?;
    handshake
        .read_message(&message, &mut [0; HANDSHAKE_BYTES])
        .map_err(unproven)?;
    handshake
        .write_message(&[], &mut message)
        .map_err(unproven)?;
    socket.write_all(&message).await?;
    Cipher::pair(handshake)
}

/// Explains why the other side ended a connection during the handshake.
fn no_key(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            Error::new(
                ErrorKind::PermissionDenied,
                "the other side ended the connection before it proved that it has the cluster's key; give all processes the same --cluster-key",
            )
        }
        _ => error,
    }
}
