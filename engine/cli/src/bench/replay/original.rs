//! The files of a catalog that a replay presents, and what each of them is in a pass.
use std::ops::Range;

use connectors::{
    DropBy, ListedDrop, Location, ObjectRef, galaxy::ColumnNames, listed_drop::list_drops,
    read_footer,
};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::{
    errors::ParquetError,
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::{new_column::NewColumn, tail::Tail};
use crate::{Error, console::tell};

/// The number of footers that are read at once.
const FOOTERS_AT_ONCE: usize = 16;

/// Which files are replayed, and how their columns are named.
#[derive(Clone, Debug)]
pub struct Choice {
    /// How the files are grouped into drops.
    pub drop_by: DropBy,
    /// The drops to replay; empty takes all.
    pub drops: Vec<String>,
    /// The names of columns in the files.
    pub names: ColumnNames,
}

/// A file of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    /// The file, as the catalog was listed.
    pub object: ObjectRef,
    /// The name of its drop, and its path in the drop.
    pub path: String,
    /// Its rows among those of the catalog, which are numbered from file to file.
    pub rows: Range<u64>,
    /// Its size in the first pass, and in each later pass.
    bytes: [u64; 2],
}

impl Original {
    /// Its size in the first pass, or in each later pass.
    pub fn bytes(&self, is_first: bool) -> u64 {
        self.bytes[usize::from(!is_first)]
    }
}

/// The tail of a file in the first pass, or in each later pass.
///
/// # Errors
/// Those of Parquet's writer, or a message that says why the rows can have no new ids.
pub fn tail(
    footer: &ParquetMetaData,
    object: &ObjectRef,
    names: &ColumnNames,
    is_first: bool,
) -> Result<Tail, ParquetError> {
    let name = names.in_file("object_id");
    let ids = NewColumn::ids(footer, name).ok_or_else(|| {
        ParquetError::General(format!(
            "it has no column `{name}` of int64, uint64 or string, of which a replay makes new ids; name the column with --column object_id=NAME"
        ))
    })?;
    let z_spec = NewColumn::without_values(footer, names.in_file("z_spec"));
    let z_spec = z_spec.filter(|_| !is_first);
    Tail::new(
        footer,
        object.bytes,
        [Some(ids), z_spec].into_iter().flatten().collect(),
    )
}

/// The files of a catalog, in the byte order of their paths. Files without a column `ra` are left out.
///
/// # Errors
/// Those of the store and of damaged files; [`Error::Usage`] if a file cannot be replayed.
pub async fn originals(catalog: &Location, choice: &Choice) -> Result<Vec<Original>, Error> {
    let files = files(catalog, choice).await?;
    let opened = files
        .into_iter()
        .map(|(object, path)| open(catalog, choice, object, path));
    let mut opened = stream::iter(opened.collect::<Vec<_>>()).buffered(FOOTERS_AT_ONCE);
    let (mut kept, mut left_out, mut rows) = (Vec::new(), 0, 0);
    while let Some(file) = opened.try_next().await? {
        let Some(mut file) = file else {
            left_out += 1;
            continue;
        };
        file.rows = rows..rows + file.rows.end;
        rows = file.rows.end;
        kept.push(file);
    }
    if left_out > 0 {
        tell(format!(
            "{left_out} files without `{}` are not replayed: spec-z and withdrawals name objects by ids, and each pass has new ids",
            choice.names.in_file("ra")
        ));
    }
    Ok(kept)
}

/// The objects of the drops that are replayed, each with the name of its drop and its path in the drop.
async fn files(catalog: &Location, choice: &Choice) -> Result<Vec<(ObjectRef, String)>, Error> {
    let listed = list_drops(catalog, choice.drop_by).await?.drops;
    let is_listed = |name: &&String| listed.iter().any(|drop| drop.listing.name == **name);
    if let Some(missing) = choice.drops.iter().find(|name| !is_listed(name)) {
        let reason = format!("--drop {missing}: {} has no such drop", catalog.url);
        return Err(Error::Usage(reason));
    }
    let is_wanted =
        |drop: &&ListedDrop| choice.drops.is_empty() || choice.drops.contains(&drop.listing.name);
    let mut files = Vec::new();
    for drop in listed.iter().filter(is_wanted) {
        let name = &drop.listing.name;
        if let Some(fault) = &drop.listing.fault {
            return Err(Error::Usage(format!("drop {name}: {fault}")));
        }
        drop.ignored_line().into_iter().for_each(tell);
        files.extend(drop.objects.iter().map(|object| {
            let path = match choice.drop_by {
                DropBy::Child => object.path.clone(),
                DropBy::All => format!("{name}/{}", object.path),
            };
            (object.clone(), path)
        }));
    }
    files.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
    Ok(files)
}

/// A file whose rows are numbered from 0, or `None` if it has no galaxies.
async fn open(
    catalog: &Location,
    choice: &Choice,
    object: ObjectRef,
    path: String,
) -> Result<Option<Original>, Error> {
    let footer = read_footer(catalog, &object).await?;
    let fields = footer.file_metadata().schema().get_fields();
    let ra = choice.names.in_file("ra");
    if !fields.iter().any(|field| field.name() == ra) {
        return Ok(None);
    }
    let bytes = |is_first| {
        let tail = tail(&footer, &object, &choice.names, is_first);
        tail.map(|tail| tail.end()).map_err(|error| {
            let reason = match error {
                ParquetError::General(reason) => reason,
                error => error.to_string(),
            };
            let object = catalog.url_of(&object.path);
            Error::Usage(format!("{object} cannot be replayed: {reason}"))
        })
    };
    let bytes = [bytes(true)?, bytes(false)?];
    let rows = footer.row_groups().iter().map(RowGroupMetaData::num_rows);
    Ok(Some(Original {
        rows: 0..rows.sum::<i64>() as u64,
        bytes,
        object,
        path,
    }))
}
