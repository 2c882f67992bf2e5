//! The doors through which rows leave, and the folders to which the doors lead.
use crate::paths;

/// The door through which a row leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Door {
    /// To `photoz/`, to `embeddings/` or to both, with the outputs of the model.
    Predicted,
    /// To the folders of predicted rows, as a withdrawn object.
    Withdrawn,
    /// To `specz/`.
    Learned,
    /// To `rejects/`, with the text of a [`RejectReason`](super::RejectReason).
    Rejected(String),
}

/// The folder of the output to which rows go.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Folder {
    /// Predicted and withdrawn rows, with redshifts. Pieces with predicted rows have this folder, also if the model gives
    /// embeddings alone.
    Photoz,
    /// Learned rows.
    SpecZ,
    /// Rejected rows.
    Rejects,
    /// Predicted and withdrawn rows, with embeddings.
    Embeddings,
}

impl Folder {
    /// All folders.
    pub const ALL: [Self; 4] = [Self::Photoz, Self::SpecZ, Self::Rejects, Self::Embeddings];

    /// The folder of a file, from its path below the output.
    pub fn of(path: &str) -> Option<Self> {
        let first = path.split('/').next();
        Self::ALL
            .into_iter()
            .find(|folder| Some(folder.name()) == first)
    }

    /// The name of the folder below the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Photoz => paths::PHOTOZ,
            Self::SpecZ => paths::SPECZ,
            Self::Rejects => paths::REJECTS,
            Self::Embeddings => paths::EMBEDDINGS,
        }
    }
}
