//! Encryption with a key that both sides have: the Noise protocol, pattern NNpsk0 (<https://noiseprotocol.org/noise.html>).
//!
//! Each connection has keys of its own, so what was recorded on one is refused on another. A frame is its length (two
//! bytes, little endian) and that many bytes of ciphertext, of which the last 16 prove that nobody has changed it.
use std::{
    io::{Error, ErrorKind},
    sync::Arc,
};

use snow::{Builder, HandshakeState, StatelessTransportState};

use super::key::ClusterKey;

const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_BLAKE2s";
/// Bytes of each of the two messages of a handshake: a public key, and the proof of the shared key.
pub(super) const HANDSHAKE_BYTES: usize = 32 + PROOF_BYTES;
const PROOF_BYTES: usize = 16;
/// Upper bound on the plain bytes of a frame.
const PLAIN_BYTES_MAX: usize = u16::MAX as usize - PROOF_BYTES;
/// Upper bound on the bytes of a frame, with its length.
pub(super) const FRAME_BYTES_MAX: usize = LENGTH_BYTES + u16::MAX as usize;
/// Bytes of the length of a frame.
pub(super) const LENGTH_BYTES: usize = 2;

/// The other side does not have the key, or somebody has changed what it sent.
pub(super) fn unproven(_: snow::Error) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        "the other side did not prove that it has the cluster's key",
    )
}

/// Begins a handshake. Both sides must know the same `prologue`.
pub(super) fn begin(
    key: &ClusterKey,
    prologue: &[u8],
    dials: bool,
) -> Result<HandshakeState, Error> {
    let pattern = PATTERN.parse().map_err(unproven)?;
    let builder = Builder::new(pattern).psk(0, key.bytes());
    let builder = builder.and_then(|builder| builder.prologue(prologue));
    let begun = builder.and_then(|builder| match dials {
        true => builder.build_initiator(),
        false => builder.build_responder(),
    });
    begun.map_err(unproven)
}

/// One direction of an encrypted connection. A number counts the frames, so that no frame is left out, repeated or moved.
/// Two frames with one number would give the plain bytes away, so only tests may clone a cipher.
#[cfg_attr(test, derive(Clone))]
pub(super) struct Cipher {
    keys: Arc<StatelessTransportState>,
    frames: u64,
}

impl Cipher {
    /// The two directions of a connection, to write and to read.
    pub fn pair(handshake: HandshakeState) -> Result<[Self; 2], Error> {
        let keys = handshake.into_stateless_transport_mode();
        let keys = Arc::new(keys.map_err(unproven)?);
        Ok([keys.clone(), keys].map(|keys| Self { keys, frames: 0 }))
    }

    /// Appends the frames of these bytes to `frames`.
    pub fn seal(&mut self, plain: &[u8], frames: &mut Vec<u8>) -> Result<(), Error> {
        let mut parts = plain.chunks(PLAIN_BYTES_MAX);
        parts.try_for_each(|part| self.seal_frame(part, frames))
    }

    fn seal_frame(&mut self, plain: &[u8], frames: &mut Vec<u8>) -> Result<(), Error> {
        let length = u16::try_from(plain.len() + PROOF_BYTES)
            .map_err(|_| Error::from(ErrorKind::InvalidInput))?;
        frames.extend_from_slice(&length.to_le_bytes());
        let begin = frames.len();
        frames.resize(begin + usize::from(length), 0);
        let sealed = self
            .keys
            .write_message(self.frames, plain, &mut frames[begin..]);
        sealed.map_err(unproven)?;
        self.frames += 1;
        Ok(())
    }

    /// Decrypts a frame without its length. Returns the number of plain bytes; `plain` must be as long as the frame.
    pub fn open(&mut self, sealed: &[u8], plain: &mut [u8]) -> Result<usize, Error> {
        let opened = self.keys.read_message(self.frames, sealed, plain);
        self.frames += 1;
        opened.map_err(unproven)
    }
}

/// The ciphers of both ends of a connection, for tests.
#[cfg(test)]
pub(super) fn pair_of_ciphers() -> [[Cipher; 2]; 2] {
    let key = ClusterKey::generate().expect("there are random numbers");
    tests::shake([&key, &key], [b"", b""]).expect("both have the key")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    pub(super) fn shake(
        keys: [&ClusterKey; 2],
        prologues: [&[u8]; 2],
    ) -> Result<[[Cipher; 2]; 2], Error> {
        let mut near = begin(keys[0], prologues[0], true)?;
        let mut far = begin(keys[1], prologues[1], false)?;
        let (mut message, mut payload) = ([0; HANDSHAKE_BYTES], [0; HANDSHAKE_BYTES]);
        assert_eq!(
            near.write_message(&[], &mut message).unwrap(),
            HANDSHAKE_BYTES
        );
        far.read_message(&message, &mut payload).map_err(unproven)?;
        assert_eq!(
            far.write_message(&[], &mut message).unwrap(),
            HANDSHAKE_BYTES
        );
        near.read_message(&message, &mut payload)
            .map_err(unproven)?;
        Ok([Cipher::pair(near)?, Cipher::pair(far)?])
    }

    #[test]
    fn both_sides_need_the_same_key_and_the_same_prologue() {
        let [key, other] = [(); 2].map(|()| ClusterKey::generate().unwrap());
        assert!(shake([&key, &other], [b"a", b"a"]).is_err());
        assert!(shake([&key, &key], [b"a", b"b"]).is_err());
        shake([&key, &key], [b"a", b"a"]).unwrap();
    }

    #[test]
    fn frames_that_are_changed_repeated_or_of_another_connection_are_refused() {
        let key = ClusterKey::generate().unwrap();
        let [[mut near, _], [_, mut far]] = shake([&key, &key], [b"", b""]).unwrap();
        let [_, [_, mut elsewhere]] = shake([&key, &key], [b"", b""]).unwrap();
        let (mut frame, mut plain) = (Vec::new(), [0; 64]);
        near.seal(b"galaxies", &mut frame).unwrap();
        let sealed = &frame[LENGTH_BYTES..];
        assert!(elsewhere.open(sealed, &mut plain).is_err());
        let length = far.clone().open(sealed, &mut plain).unwrap();
        assert_eq!(&plain[..length], b"galaxies");
        let mut changed = sealed.to_vec();
        changed[3] ^= 1;
        assert!(far.clone().open(&changed, &mut plain).is_err());
        far.open(sealed, &mut plain).unwrap();
        assert!(far.open(sealed, &mut plain).is_err(), "a repeated frame");
    }
}
