//! Copies of many entries in one object, so that a long ledger opens in few requests.
//!
//! ```text
//! OUT/_hubbleflow/compacted/10/<number of the last entry, 20 digits>.jsonl        10 entries
//! OUT/_hubbleflow/compacted/100/<number of the last entry, 20 digits>.jsonl       100 entries
//! OUT/_hubbleflow/compacted/1000/<number of the last entry, 20 digits>.jsonl      1,000 entries
//! OUT/_hubbleflow/compacted/10000/<number of the last entry, 20 digits>.jsonl     10,000 entries
//! ```
//! The first line of a copy is its header, and each other line is an entry of the ledger. A copy is made of ten copies of
//! the next smaller size. So a ledger of n entries is read in n / 10,000 requests and about 50 more: nine copies of each
//! smaller size, nine entries, and the listings.
//!
//! Copies are made from the entries, and never change what a run reads. The header of a copy holds the checksum of its
//! lines and the checksum of the entry before them. So copies form a chain, and the last entry of the chain is compared with
//! the same entry of the ledger. A copy that is missing, damaged or from a different ledger is ignored and made again.
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Location,
    ledger::{
        entry::{Entry, FORMAT, checksum},
        entry_object::read_entry,
    },
    paths::{self, COMPACTED},
};

/// The numbers of entries in copies: the largest first, then those that they are made of.
const SIZES: [u64; 4] = [10_000, 1_000, 100, 10];
/// The number of entries in the smallest copy. A copy is due after this number of entries.
const EVERY: u64 = SIZES[SIZES.len() - 1];
/// The number of copies that are read at once. A large copy has about 10 MB.
const COPIES_AT_ONCE: usize = 4;
/// The number of entries that are read at once.
const ENTRIES_AT_ONCE: usize = 32;

/// The first line of a copy.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The format of the entries.
    format: u32,
    /// The number of entries.
    entries: u64,
    /// The checksum of the line of the entry before the first; empty if there is no such entry.
    follows: String,
    /// The checksum of all lines after the header.
    checksum: String,
}

/// A copy that was read and checked.
struct Copy {
    entries: Vec<Entry>,
    follows: String,
    /// The checksum of the last entry's line, which the next copy names in `follows`.
    end: String,
}

/// The last entry that has a copy, for each size of copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied([u64; SIZES.len()]);

/// Reads the copies: all entries from the first entry to the last entry that has a copy.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn read(output: &Location) -> Result<(Vec<Entry>, Copied), Error> {
    let (mut entries, mut copied, mut end) = (Vec::new(), Copied::default(), String::new());
    for (at, size) in SIZES.into_iter().enumerate() {
        let there = listed(output, size, entries.len() as u64).await?;
        let next = (1..).map(|place| entries.len() as u64 + place * size);
        let lasts: Vec<u64> = next
            .zip(there)
            .take_while(|(next, there)| next == there)
            .map(|(next, _)| next)
            .collect();
        let copies = lasts.into_iter().map(|last| read_copy(output, size, last));
        let mut copies = futures::stream::iter(copies.collect::<Vec<_>>()).buffered(COPIES_AT_ONCE);
        // Entries after an unusable copy are read from smaller copies, or from the ledger.
        while let Some(Some(copy)) = copies.try_next().await?
            && copy.follows == end
        {
            entries.extend(copy.entries);
            end = copy.end;
        }
        copied.0[at] = entries.len() as u64;
    }
    match is_of_this_ledger(output, entries.last()).await? {
        true => Ok((entries, copied)),
        false => Ok(Default::default()),
    }
}

/// Makes the copies that are due for the first `count` entries of a ledger.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn write(
    output: &Location,
    Copied(copied): &mut Copied,
    count: u64,
) -> Result<(), Error> {
    // Small copies come first, because large copies are made of them.
    for (at, size) in SIZES.into_iter().enumerate().rev() {
        while copied[at] + size <= count {
            let last = copied[at] + size;
            let made = match at {
                _ if size == EVERY => lines_of_entries(output, last).await,
                _ => lines_of_copies(output, last, size, SIZES[at + 1]).await,
            };
            let (follows, lines) = made.inspect_err(|_| {
                // A smaller copy may have been damaged. The next call makes all of them again.
                if let Some(smaller) = (at + 1 < SIZES.len()).then_some(at + 1) {
                    copied[smaller] = copied[smaller].min(copied[at]);
                }
            })?;
            let header = Header {
                format: FORMAT,
                entries: size,
                follows,
                checksum: checksum(&lines),
            };
            let mut text = serde_json::to_vec(&header).expect("invariant: a header is plain data");
            text.push(b'\n');
            text.extend(lines);
            let name = paths::entry_copy(size, last);
            let put = output.store.put(&output.path(&name)?, text.into()).await;
            put.map_err(|source| Error::store(output.url_of(&name), source))?;
            copied[at] = last;
        }
    }
    Ok(())
}

/// Lists the copies of a size that begin after an entry: the numbers of their last entries, in order.
async fn listed(output: &Location, size: u64, after: u64) -> Result<Vec<u64>, Error> {
    let folder = format!("{COMPACTED}/{size}");
    let offset = output.path(&paths::entry_copy(size, after))?;
    let listed = output
        .store
        .list_with_offset(Some(&output.path(&folder)?), &offset)
        .map_ok(|meta| {
            let name = meta.location.filename()?.strip_suffix(".jsonl")?;
            name.parse().ok()
        })
        .try_collect::<Vec<Option<u64>>>()
        .await;
    let listed = listed.map_err(|source| Error::store(output.url_of(&folder), source))?;
    let mut lasts: Vec<u64> = listed.into_iter().flatten().collect();
    lasts.sort_unstable();
    Ok(lasts)
}

/// Reads a copy, or returns `None` if the copy cannot be used.
async fn read_copy(output: &Location, size: u64, last: u64) -> Result<Option<Copy>, Error> {
    let name = paths::entry_copy(size, last);
    let Some(text) = output.read_if_there(&name).await? else {
        return Ok(None);
    };
    let first = last - size + 1;
    let parsed = tokio::task::spawn_blocking(move || parse(&text, first, size)).await;
    match parsed.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(copy) => Ok(Some(copy)),
        Err(reason) => {
            let object = output.url_of(&name);
            tracing::warn!("{object} is ignored, and the ledger's entries are read: {reason}");
            Ok(None)
        }
    }
}

/// Parses a copy of the `size` entries from `first` on.
fn parse(text: &[u8], first: u64, size: u64) -> Result<Copy, String> {
    let (follows, text) = lines_of(text, size)?;
    let (mut entries, mut end) = (Vec::new(), &b""[..]);
    for line in text.split(|&byte| byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let entry: Entry = json(line)?;
        if entry.sequence != first + entries.len() as u64 {
            return Err(format!("entry {} is out of order", entry.sequence));
        }
        entries.push(entry);
        end = line;
    }
    match entries.len() as u64 == size {
        true => Ok(Copy {
            entries,
            follows,
            end: checksum(end),
        }),
        false => Err(format!("{} of {size} entries are there", entries.len())),
    }
}

/// The checksum that a copy follows, and its lines, checked against the header.
fn lines_of(text: &[u8], size: u64) -> Result<(String, &[u8]), String> {
    let end = text.iter().position(|&byte| byte == b'\n');
    let (header, lines) = text.split_at(end.map_or(text.len(), |end| end + 1));
    let header: Header = json(header)?;
    let (format, entries) = (header.format, header.entries);
    if format != FORMAT || entries != size {
        return Err(format!("it holds {entries} entries of format {format}"));
    }
    match checksum(lines) == header.checksum {
        true => Ok((header.follows, lines)),
        false => Err("its lines do not have the checksum in its header".to_owned()),
    }
}

fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// Whether the last entry that was read from copies is the same in the ledger.
async fn is_of_this_ledger(output: &Location, last: Option<&Entry>) -> Result<bool, Error> {
    let Some(last) = last else {
        return Ok(true);
    };
    let there = read_entry(output, last.sequence).await?;
    let same = there.as_ref() == Some(last);
    if !same {
        let sequence = last.sequence;
        tracing::warn!(
            "{}/{COMPACTED} is from a different ledger at entry {sequence}, and is ignored",
            output.url
        );
    }
    Ok(same)
}

/// Makes the content of the small copy that ends with an entry: the checksum that it follows, and its lines.
async fn lines_of_entries(output: &Location, last: u64) -> Result<(String, Vec<u8>), Error> {
    let before = last - EVERY;
    let reads = (before.max(1)..=last).map(|sequence| async move {
        let text = read_there(output, &paths::entry(sequence)).await?;
        // Strings in JSON contain no line breaks, so removing line breaks does not change an entry.
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        Ok::<_, Error>(lines.collect::<Vec<_>>().concat())
    });
    let reads = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(ENTRIES_AT_ONCE);
    let mut lines: Vec<Vec<u8>> = reads.try_collect().await?;
    let follows = match before {
        0 => String::new(),
        _ => checksum(&lines.remove(0)),
    };
    lines.iter_mut().for_each(|line| line.push(b'\n'));
    Ok((follows, lines.concat()))
}

/// Makes the content of the copy of `size` entries that ends with an entry from copies of `part` entries: the checksum that
/// it follows, and its lines.
async fn lines_of_copies(
    output: &Location,
    last: u64,
    size: u64,
    part: u64,
) -> Result<(String, Vec<u8>), Error> {
    let smaller = (last - size + part..=last).step_by(part as usize);
    let reads = smaller.map(|last| async move {
        let name = paths::entry_copy(part, last);
        let text = read_there(output, &name).await?;
        let (follows, lines) = lines_of(&text, part).map_err(|reason| Error::Ledger {
            object: output.url_of(&name),
            reason: format!("is not a copy of entries, and is made again: {reason}"),
        })?;
        Ok::<_, Error>((follows, lines.to_vec()))
    });
    let reads = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(COPIES_AT_ONCE);
    let copies: Vec<(String, Vec<u8>)> = reads.try_collect().await?;
    let follows = copies.first().map(|(follows, _)| follows.clone());
    let lines: Vec<Vec<u8>> = copies.into_iter().map(|(_, lines)| lines).collect();
    Ok((follows.unwrap_or_default(), lines.concat()))
}

async fn read_there(output: &Location, name: &str) -> Result<Bytes, Error> {
    let text = output.read_if_there(name).await?;
    text.ok_or_else(|| Error::Ledger {
        object: output.url_of(name),
        reason: "is missing; restore it from a backup".to_owned(),
    })
}
