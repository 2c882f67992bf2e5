//! Checks that the files of a drop agree on the type of ids, the kind of rows and the types of kept columns.
use std::collections::BTreeMap;

use arrow::datatypes::FieldRef;

use crate::{
    Error,
    file::{File, cut::RowGroupShape},
    galaxy::{
        FileKind, IdKind, KeptTypes, Layout,
        kept::{UNTYPED, comparable},
    },
};

/// The facts from a file's footer that planning needs.
pub(crate) struct FileSummary {
    pub name: String,
    pub layout: Option<Layout>,
    pub shapes: Vec<RowGroupShape>,
    pub rows: u64,
    pub origin: Option<String>,
}

impl FileSummary {
    /// Copies the facts, so that the footer can be freed. A drop may have many files.
    pub(crate) fn new(file: &File) -> Self {
        Self {
            name: file.name(),
            layout: file.layout().cloned(),
            shapes: file.shapes(),
            rows: file.rows(),
            origin: file.origin(),
        }
    }
}

/// The type of ids, the kind of rows and the types of kept columns of the files so far.
///
/// A file that only withdraws objects may have spec-z and still fit beside files to predict. The spec-z of withdrawn rows
/// are ignored.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    /// The name of the first file, and the type of its ids.
    first: Option<(String, IdKind)>,
    /// The first file with galaxies.
    galaxies: Option<String>,
    /// The first file that can only be read as spec-z.
    spec_z: Option<String>,
    /// The type of each kept column, and the first file that has the column.
    kept: BTreeMap<String, (String, String)>,
}

impl Agreed {
    pub(crate) fn id_kind(&self) -> Option<IdKind> {
        self.first.as_ref().map(|(_, id_kind)| *id_kind)
    }

    pub(crate) fn kind(&self) -> FileKind {
        match (&self.first, &self.galaxies) {
            (Some(_), None) => FileKind::SpecZ,
            _ => FileKind::Galaxies,
        }
    }

    pub(crate) fn keep(&self) -> KeptTypes {
        let kept = self.kept.iter();
        kept.map(|(name, (known, _))| (name.clone(), known.clone()))
            .collect()
    }

    /// Adds a file. A file without rows always agrees.
    ///
    /// # Errors
    /// [`Error::Mixed`] if the file differs from an earlier file; [`Error::Schema`] if its path contradicts its columns.
    pub(crate) fn take(&mut self, drop: &str, path: &str, file: &FileSummary) -> Result<(), Error> {
        let Some(layout) = &file.layout else {
            return Ok(());
        };
        let name = &file.name;
        layout.check_path(path).map_err(|source| Error::Schema {
            object: name.clone(),
            source,
        })?;
        let id_kind = layout.id_kind();
        let first = || (name.clone(), id_kind);
        let (first, first_id_kind) = self.first.get_or_insert_with(first);
        if *first_id_kind != id_kind {
            let reason = format!(
                "object_id is {first_id_kind} in {first}, and {id_kind} in {name}; a catalog has one type"
            );
            return Err(Error::mixed(drop, reason));
        }
        match layout.kind() {
            FileKind::Galaxies => keep_first(&mut self.galaxies, name),
            FileKind::SpecZ if !layout.may_withdraw() => keep_first(&mut self.spec_z, name),
            FileKind::SpecZ => {}
        }
        if let (Some(galaxies), Some(spec_z)) = (&self.galaxies, &self.spec_z) {
            let reason = format!(
                "{galaxies} and {spec_z} are not of one kind: one has galaxies, the other z_spec and no cutouts, which makes it spec-z; deliver spec-z as a drop of its own"
            );
            return Err(Error::mixed(drop, reason));
        }
        self.take_kept(drop, layout, name)
    }

    /// Makes sure that a kept column has one type in all files. A file that only withdraws objects may lack the column.
    fn take_kept(&mut self, drop: &str, layout: &Layout, file: &str) -> Result<(), Error> {
        for (name, here) in layout.keep_fields().iter().map(kept_type) {
            let first = || (here.clone(), file.to_owned());
            let (there, other) = self.kept.entry(name.clone()).or_insert_with(first);
            if there == UNTYPED {
                (*there, *other) = (here, file.to_owned());
            } else if here != UNTYPED && here != *there {
                let reason = format!(
                    "column `{name}` of --keep is {here} in {file}, and {there} in {other}; write it alike in both, or leave --keep out"
                );
                return Err(Error::mixed(drop, reason));
            }
        }
        Ok(())
    }
}

/// Keeps the first name.
fn keep_first(first: &mut Option<String>, name: &str) {
    first.get_or_insert_with(|| name.to_owned());
}

/// A kept column's name and type.
pub(crate) fn kept_type(field: &FieldRef) -> (String, String) {
    let known = comparable(field.data_type()).to_string();
    (field.name().clone(), known)
}
