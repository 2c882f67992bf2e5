//! Little-endian numbers at an offset.

/// The bytes of a record. Each getter returns `None` if the record ends too early.
pub(super) struct LittleEndian<'a>(pub(super) &'a [u8]);

impl<'a> LittleEndian<'a> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    pub(super) fn all_u64(self) -> impl Iterator<Item = u64> + 'a {
        let (eights, _) = self.0.as_chunks();
        eights.iter().map(|&eight| u64::from_le_bytes(eight))
    }
}
