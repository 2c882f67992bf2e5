//! The first bytes on a connection between two processes. They are sent in clear and hold nothing to keep secret, and the
//! handshake of the encryption covers these bytes, so a change of the bytes is noticed.
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

const MAGIC: [u8; 4] = *b"HFC1";
/// Bytes of a hello.
pub(super) const HELLO_BYTES: usize = 4 + 1 + 1 + 16 + 2 + 2;

/// A generation of a cluster: the processes of one start. The number is random, so no process of an earlier generation
/// has the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation(u128);

impl Generation {
    /// Makes a new generation.
    pub fn mint() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::io("the system gives no random numbers", error.into()))?;
        Ok(Self(u128::from_le_bytes(bytes)))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be taken into the cluster.
    Join,
    /// The data of the workers.
    Workers,
    /// Heartbeats.
    Heartbeats,
}

/// What the process that dials says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
    /// Whether the greetings that follow are encrypted.
    pub is_sealed: bool,
    /// The generation of the cluster; the default if the process does not know the generation yet.
    pub generation: Generation,
    /// The process that dials; 0 if it has no number yet.
    pub from: u16,
    /// The process that is dialled.
    pub to: u16,
}

impl Hello {
    /// As bytes.
    pub fn to_bytes(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = match self.purpose {
            Purpose::Join => 0,
            Purpose::Workers => 1,
            Purpose::Heartbeats => 2,
        };
        bytes[5] = u8::from(self.is_sealed);
        bytes[6..22].copy_from_slice(&self.generation.0.to_le_bytes());
        bytes[22..24].copy_from_slice(&self.from.to_le_bytes());
        bytes[24..].copy_from_slice(&self.to.to_le_bytes());
        bytes
    }

    /// From bytes; `None` if they are no hello.
    pub fn from_bytes(bytes: &[u8; HELLO_BYTES]) -> Option<Self> {
        let [m0, m1, m2, m3, purpose, is_sealed, rest @ ..] = *bytes;
        let purpose = match purpose {
            0 => Purpose::Join,
            1 => Purpose::Workers,
            2 => Purpose::Heartbeats,
            _ => return None,
        };
        if [m0, m1, m2, m3] != MAGIC || is_sealed > 1 {
            return None;
        }
        let (generation, ranks) = rest.split_first_chunk::<16>()?;
        let &[from0, from1, to0, to1] = ranks else {
            return None;
        };
        Some(Self {
            purpose,
            is_sealed: is_sealed == 1,
            generation: Generation(u128::from_le_bytes(*generation)),
            from: u16::from_le_bytes([from0, from1]),
            to: u16::from_le_bytes([to0, to1]),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hello_is_read_as_it_was_written(
            purpose in prop_oneof![Just(Purpose::Join), Just(Purpose::Workers), Just(Purpose::Heartbeats)],
            (is_sealed, generation, from, to) in any::<(bool, u128, u16, u16)>(),
        ) {
            let hello = Hello { purpose, is_sealed, generation: Generation(generation), from, to };
            prop_assert_eq!(Hello::from_bytes(&hello.to_bytes()), Some(hello));
        }

        #[test]
        fn any_bytes_are_a_hello_or_refused(bytes in any::<[u8; HELLO_BYTES]>()) {
            if let Some(hello) = Hello::from_bytes(&bytes) {
                prop_assert_eq!(hello.to_bytes(), bytes);
            }
        }
    }
}
