//! A connection between two processes that have greeted each other: encrypted if the cluster has a key, else in clear.
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
    noise::{Cipher, FRAME_BYTES_MAX, LENGTH_BYTES},
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
    /// Reads plain bytes. If the wait ends before a whole frame has come, the bytes of the frame are kept.
    fn read(&mut self, mut socket: &TcpStream, to: &mut [u8]) -> Result<usize> {
        while self.read == self.plain.len() {
            if let Some(length) = self.frame_length() {
                // Most frames fit into the reader's own buffer.
                match to.get_mut(..length) {
                    Some(to) => match self.open(length, to)? {
                        0 => continue,
                        bytes => return Ok(bytes),
                    },
                    None => self.open_aside(length)?,
                }
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

    /// The length of the next frame, if the whole frame is here.
    fn frame_length(&self) -> Option<usize> {
        let came = &self.came[self.begin..self.end];
        let length = usize::from(u16::from_le_bytes(*came.first_chunk()?));
        (came.len() >= LENGTH_BYTES + length).then_some(length)
    }

    /// Decrypts the next frame, which has this length. Returns the number of plain bytes in `to`.
    fn open(&mut self, length: usize, to: &mut [u8]) -> Result<usize> {
        let begin = self.begin + LENGTH_BYTES;
        self.begin = begin + length;
        self.cipher.open(&self.came[begin..][..length], to)
    }

    /// Decrypts the next frame, which has this length, and keeps the plain bytes for later reads.
    fn open_aside(&mut self, length: usize) -> Result<()> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.resize(length, 0);
        let bytes = self.open(length, &mut plain)?;
        plain.truncate(bytes);
        (self.plain, self.read) = (plain, 0);
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
        cipher.seal(bytes, frames)?;
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

/// The two ends of an encrypted connection, for tests.
#[cfg(test)]
pub(super) fn pair() -> [Channel; 2] {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = listener.local_addr().expect("the listener is bound");
    let near = TcpStream::connect(address).expect("the listener listens");
    let (far, _) = listener.accept().expect("the near end connects");
    let [of_near, of_far] = super::noise::pair_of_ciphers();
    [
        Channel::new(near, Some(of_near)),
        Channel::new(far, Some(of_far)),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            writes in prop::collection::vec(0_usize..200_000, 1..8),
            reads in prop::collection::vec(1_usize..100_000, 1..8),
        ) {
            let [mut near, mut far] = pair();
            let total: usize = writes.iter().sum();
            let sent: Vec<u8> = (0..total).map(|n| (n * 31 % 251) as u8).collect();
            let bytes = sent.clone();
            let writing = std::thread::spawn(move || {
                let mut rest = &bytes[..];
                for count in writes {
                    let (now, later) = rest.split_at(count);
                    near.write_all(now).unwrap();
                    rest = later;
                }
                Stream::shutdown(&near, Shutdown::Write).unwrap();
                near
            });
            let mut came = Vec::<u8>::new();
            for count in reads.iter().cycle() {
                let mut to = vec![0; *count];
                match far.read(&mut to).unwrap() {
                    0 => break,
                    bytes => came.extend(&to[..bytes]),
                }
            }
            writing.join().unwrap();
            prop_assert_eq!(came, sent);
        }
    }

    #[test]
    fn a_wait_that_ends_within_a_frame_loses_nothing() {
        let [near, mut far] = pair();
        far.set_read_timeout(Duration::from_millis(20)).unwrap();
        let mut frame = Vec::new();
        let sealed = near.sealed.as_ref().unwrap();
        lock(&sealed.writing)
            .0
            .seal(b"galaxies", &mut frame)
            .unwrap();
        let mut to = [0; 64];
        for part in frame.chunks(5) {
            assert!(far.read(&mut to).is_err());
            (&*near.socket).write_all(part).unwrap();
        }
        assert_eq!(far.read(&mut to).unwrap(), 8);
        assert_eq!(&to[..8], b"galaxies");
    }
}
