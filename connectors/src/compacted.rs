//! Copies of many entries in one object: a long ledger opens in few requests.
//!
//! ```text
//! OUT/_hubbleflow/compacted/100/<number of the last entry, 20 digits>.jsonl       100 entries
//! OUT/_hubbleflow/compacted/10000/<number of the last entry, 20 digits>.jsonl     10,000 entries
//! ```
//! The first line of a copy is its header, each other line an entry as it lies in the ledger. So 100,000 entries are 10
//! copies, and a ledger of any length is read in its length / 10,000 requests, and 200 more at most. Copies are derived:
//! the entries are the truth, and a copy that is missing, damaged or of another ledger is not used, and is made again.
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Location,
    ledger::{self, Entry, FORMAT},
};

/// Where the copies lie below the output.
const FOLDER: &str = "_hubbleflow/compacted";
/// Entries of a copy: of the large ones, then of the small ones that they are made of.
const SIZES: [u64; 2] = [10_000, 100];
/// Entries of the smallest copy: how often copies are due.
pub(crate) const EVERY: u64 = SIZES[1];
/// Copies that are read at once; a large one is some 10 MB.
const COPIES_AT_ONCE: usize = 4;
/// Entries that are read at once.
const ENTRIES_AT_ONCE: usize = 32;

/// The first line of a copy.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The format of its entries.
    format: u32,
    /// How many follow.
    entries: u64,
}

/// Up to which number of the ledger there are copies, without a gap: by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied([u64; 2]);

/// Reads the copies, and says what they hold: the entries from the first on, as far as copies go.
///
/// # Errors
/// The store's.
pub(crate) async fn read(output: &Location) -> Result<(Vec<Entry>, Copied), Error> {
    let (mut entries, mut copied) = (Vec::new(), Copied::default());
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
        // What comes after a copy that cannot be used is read from smaller copies, or from the entries.
        while let Some(Some(copy)) = copies.try_next().await? {
            entries.extend(copy);
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
/// The store's.
pub(crate) async fn write(
    output: &Location,
    Copied(copied): &mut Copied,
    count: u64,
) -> Result<(), Error> {
    // Small ones first: the large ones are made of them.
    for (at, size) in SIZES.into_iter().enumerate().rev() {
        while copied[at] + size <= count {
            let last = copied[at] + size;
            let lines = match at {
                0 => lines_of_copies(output, last).await?,
                _ => lines_of_entries(output, last).await?,
            };
            let header = Header {
                format: FORMAT,
                entries: size,
            };
            let mut text = serde_json::to_vec(&header).expect("a header is plain data");
            text.push(b'\n');
            text.extend(lines);
            let name = name(size, last);
            let put = output.store.put(&output.path(&name)?, text.into()).await;
            put.map_err(|source| Error::store(output.url_of(&name), source))?;
            copied[at] = last;
        }
    }
    Ok(())
}

fn name(size: u64, last: u64) -> String {
    format!("{FOLDER}/{size}/{last:020}.jsonl")
}

/// The last entries of the copies of a size that begin after an entry, in order.
async fn listed(output: &Location, size: u64, after: u64) -> Result<Vec<u64>, Error> {
    let folder = format!("{FOLDER}/{size}");
    let offset = output.path(&name(size, after))?;
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

/// The entries of a copy; `None` if it cannot be used.
async fn read_copy(output: &Location, size: u64, last: u64) -> Result<Option<Vec<Entry>>, Error> {
    let name = name(size, last);
    let Some(text) = output.read_if_there(&name).await? else {
        return Ok(None);
    };
    let first = last - size + 1;
    let parsed = tokio::task::spawn_blocking(move || parse(&text, first, size)).await;
    match parsed.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(entries) => Ok(Some(entries)),
        Err(reason) => {
            let object = output.url_of(&name);
            tracing::warn!("{object} is ignored, and the ledger's entries are read: {reason}");
            Ok(None)
        }
    }
}

/// Reads a copy of the `size` entries from `first` on.
fn parse(text: &[u8], first: u64, size: u64) -> Result<Vec<Entry>, String> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let Header { format, entries } = json(header)?;
    if format != FORMAT || entries != size {
        return Err(format!("it holds {entries} entries of format {format}"));
    }
    let mut read = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let entry: Entry = json(line)?;
        if entry.sequence != first + read.len() as u64 {
            return Err(format!("entry {} is out of order", entry.sequence));
        }
        read.push(entry);
    }
    match read.len() as u64 == size {
        true => Ok(read),
        false => Err(format!("{} of {size} entries are there", read.len())),
    }
}

fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// Whether the last entry that was read from copies lies in the ledger as it is.
async fn is_of_this_ledger(output: &Location, last: Option<&Entry>) -> Result<bool, Error> {
    let Some(last) = last else {
        return Ok(true);
    };
    let there = ledger::read_entry(output, last.sequence).await?;
    let same = there.as_ref() == Some(last);
    if !same {
        let sequence = last.sequence;
        tracing::warn!(
            "{}/{FOLDER} is of another ledger at entry {sequence}, and is ignored",
            output.url
        );
    }
    Ok(same)
}

/// The lines of the small copy that ends with an entry.
async fn lines_of_entries(output: &Location, last: u64) -> Result<Vec<u8>, Error> {
    let reads = (last - EVERY + 1..=last).map(|sequence| async move {
        let name = ledger::name(sequence);
        let text = read_there(output, &name).await?;
        // Text of JSON holds no line break: what is left out lies between its parts.
        let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        Ok::<_, Error>([&lines.collect::<Vec<_>>().concat()[..], b"\n"].concat())
    });
    let reads = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(ENTRIES_AT_ONCE);
    Ok(reads.try_collect::<Vec<_>>().await?.concat())
}

/// The lines of the large copy that ends with an entry: those of the small ones.
async fn lines_of_copies(output: &Location, last: u64) -> Result<Vec<u8>, Error> {
    let smaller = (last - SIZES[0] + EVERY..=last).step_by(EVERY as usize);
    let reads = smaller.map(|last| async move {
        let text = read_there(output, &name(EVERY, last)).await?;
        let lines = text.splitn(2, |&byte| byte == b'\n').nth(1);
        Ok::<_, Error>(text.slice_ref(lines.unwrap_or_default()))
    });
    let reads = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(COPIES_AT_ONCE);
    Ok(reads.try_collect::<Vec<_>>().await?.concat())
}

async fn read_there(output: &Location, name: &str) -> Result<Bytes, Error> {
    let text = output.read_if_there(name).await?;
    text.ok_or_else(|| Error::Ledger {
        object: output.url_of(name),
        reason: "is missing; restore it from a backup".to_owned(),
    })
}
