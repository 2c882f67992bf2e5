//! A connection between two processes that know each other: encrypted if the cluster has a key, else as it is.
use std::{
    io::{ErrorKind, Read, Result, Write},
    net::{Shutdown, TcpStream},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use timely::communication::allocator::zero_copy::stream::Stream;

use super::{
    message_bound::MessageBound,
    noise::{Cipher, FRAME_BYTES_MAX, LENGTH_BYTES, PLAIN_BYTES_MAX},
};

/// A connection between two processes. Clones are the same connection: timely reads on one and writes on another.
#[derive(Clone)]
pub(super) struct Channel {
    socket: Arc<TcpStream>,
    sealed: Option<Arc<Sealed>>,
    bound: Option<Arc<Mutex<MessageBound>>>,
}

/// The two directions of an encrypted connection. Each has a lock of its own: one thread reads while another writes.
struct Sealed {
    writing: Mutex<(Cipher, Vec<u8>)>,
    reading: Mutex<Reading>,
}

/// Bytes on their way in.
struct Reading {
    cipher: Cipher,
    /// Frames as they come from the network, between `begin` and `end`.
    came: Box<[u8]>,
    begin: usize,
    end: usize,
    /// What was decrypted and not read yet, from `read` on.
    plain: Vec<u8>,
    read: usize,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channel {
    /// A connection on which the greetings are over. `ciphers` are those to write and to read with.
    pub fn new(socket: TcpStream, ciphers: Option<[Cipher; 2]>) -> Self {
        let sealed = ciphers.map(|[write, read]| {
            Arc::new(Sealed {
                writing: Mutex::new((write, Vec::new())),
                reading: Mutex::new(Reading {
                    cipher: read,
                    came: vec![0; 2 * FRAME_BYTES_MAX].into(),
                    begin: 0,
                    end: 0,
                    plain: Vec::new(),
                    read: 0,
                }),
            })
        });
        Self {
            socket: Arc::new(socket),
            sealed,
            bound: None,
        }
    }

    /// Takes only messages to these workers of this process.
    pub fn bounded(self, workers: Range<u64>) -> Self {
        let bound = Some(Arc::new(Mutex::new(MessageBound::new(workers))));
        Self { bound, ..self }
    }

    /// How long a read waits.
    pub fn set_read_timeout(&self, timeout: Duration) -> Result<()> {
        self.socket.set_read_timeout(Some(timeout))
    }

    /// Ends the connection for both sides.
    pub fn cut(&self) {
        // Fails only for a connection that is shut down already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Whether the other side of a connection on which nothing is said is still there.
    pub fn is_connected(&self) -> bool {
        let looked = self
            .socket
            .set_nonblocking(true)
            .and_then(|()| self.socket.peek(&mut [0]));
        let is_there = match looked {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        is_there && self.socket.set_nonblocking(false).is_ok()
    }
}

impl Reading {
    /// Reads plain bytes. A wait that ends without a whole frame loses nothing of it.
    fn read(&mut self, mut socket: &TcpStream, to: &mut [u8]) -> Result<usize> {
        while self.read == self.plain.len() {
            if let Some(length) = self.frame_length() {
                self.open(length)?;
                continue;
            }
            self.came.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            match socket.read(&mut self.came[self.end..])? {
                0 if self.end == 0 => return Ok(0),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                bytes => self.end += bytes,
            }
        }
        let plain = &self.plain[self.read..];
        let bytes = plain.len().min(to.len());
        to[..bytes].copy_from_slice(&plain[..bytes]);
        self.read += bytes;
        Ok(bytes)
    }

    /// The length of the frame that comes next, if all of it is here.
    fn frame_length(&self) -> Option<usize> {
        let came = &self.came[self.begin..self.end];
        let length = usize::from(u16::from_le_bytes(*came.first_chunk()?));
        (came.len() >= LENGTH_BYTES + length).then_some(length)
    }

    fn open(&mut self, length: usize) -> Result<()> {
        let begin = self.begin + LENGTH_BYTES;
        self.begin = begin + length;
        self.plain.resize(length, 0);
        let sealed = &self.came[begin..][..length];
        let plain = self.cipher.open(sealed, &mut self.plain)?;
        (self.read, _) = (0, self.plain.truncate(plain));
        Ok(())
    }
}

impl Read for Channel {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let bytes = match &self.sealed {
            None => (&*self.socket).read(to)?,
            Some(sealed) => lock(&sealed.reading).read(&self.socket, to)?,
        };
        if let Some(bound) = &self.bound {
            lock(bound).follow(&to[..bytes])?;
        }
        Ok(bytes)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(sealed) = &self.sealed else {
            return (&*self.socket).write(bytes);
        };
        let mut writing = lock(&sealed.writing);
        let (cipher, frames) = &mut *writing;
        frames.clear();
        for plain in bytes.chunks(PLAIN_BYTES_MAX) {
            cipher.seal(plain, frames)?;
        }
        (&*self.socket).write_all(frames)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        (&*self.socket).flush()
    }
}

impl Stream for Channel {
    fn try_clone(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.socket.shutdown(how)
    }
}
