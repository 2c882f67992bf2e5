//! A bound on what another process can make timely do: the headers of its messages are checked as they come in.
//!
//! Timely makes room for a message as its header says, and looks up the workers that the header names.
use std::{
    io::{Error, ErrorKind},
    ops::Range,
};

/// Bytes of a header: channel, source, first and last target, length, sequence number; 8 bytes each, big endian.
const HEADER_BYTES: usize = 48;
/// Upper bound on the bytes of a message.
const MESSAGE_BYTES_MAX: u64 = 1 << 30;

/// Follows the messages in a stream of bytes.
#[derive(Debug)]
pub(super) struct MessageBound {
    /// The workers of this process.
    workers: Range<u64>,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    in_header: usize,
    /// Bytes of the message that are still to come.
    left: u64,
}

impl MessageBound {
    /// Allows messages to these workers.
    pub fn new(workers: Range<u64>) -> Self {
        Self {
            workers,
            header: [0; HEADER_BYTES],
            in_header: 0,
            left: 0,
        }
    }

    /// Follows the next bytes of the stream.
    ///
    /// # Errors
    /// If they have a header that no process of the cluster sends.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len() as u64);
                bytes = &bytes[passed as usize..];
                self.left -= passed;
                continue;
            }
            let wanted = HEADER_BYTES - self.in_header;
            let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.header[self.in_header..][..part.len()].copy_from_slice(part);
            (self.in_header, bytes) = (self.in_header + part.len(), rest);
            if self.in_header == HEADER_BYTES {
                (self.in_header, self.left) = (0, self.check()?);
            }
        }
        Ok(())
    }

    /// Checks the header; returns the bytes of its message. A length of 0 ends the stream.
    fn check(&self) -> Result<u64, Error> {
        let field = |index: usize| {
            let bytes = self.header[8 * index..].first_chunk::<8>();
            u64::from_be_bytes(*bytes.expect("invariant: a header has six fields of 8 bytes"))
        };
        let (targets, length) = (field(2)..field(3), field(4));
        let are_ours = self.workers.start <= targets.start
            && targets.start < targets.end
            && targets.end <= self.workers.end;
        match length {
            0 => Ok(0),
            1..=MESSAGE_BYTES_MAX if are_ours => Ok(length),
            _ => Err(Error::new(
                ErrorKind::InvalidData,
                format!(
                    "a message of {length} bytes to workers {targets:?} is no message of this cluster"
                ),
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(targets: Range<u64>, length: u64, bytes: usize) -> Vec<u8> {
        let fields = [0, 0, targets.start, targets.end, length, 0];
        let header = fields.iter().flat_map(|field: &u64| field.to_be_bytes());
        header.chain(vec![7; bytes]).collect()
    }

    #[test]
    fn messages_pass_however_they_are_cut() {
        let stream = [
            message(2..3, 100, 100),
            message(2..4, 1, 1),
            message(0..0, 0, 0),
        ]
        .concat();
        for size in [1, 7, 48, 49, 1000] {
            let mut bound = MessageBound::new(2..4);
            for bytes in stream.chunks(size) {
                bound.follow(bytes).unwrap();
            }
        }
    }

    #[test]
    fn a_message_of_gigabytes_or_to_no_worker_of_this_process_is_refused() {
        for (targets, length) in [(2..3, 4_500_000_000), (0..1, 8), (3..3, 8), (2..9, 8)] {
            let stream = message(targets, length, 0);
            assert!(MessageBound::new(2..4).follow(&stream).is_err());
        }
    }
}
