//! The doors through which rows leave, and the folders to which the doors lead.
use crate::paths;

/// The door through which a row leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Door {
    /// To `photoz/`, with a prediction.
    Predicted,
    /// To `photoz/`, as a withdrawn object.
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
    /// Predicted and withdrawn rows.
    Photoz,
    /// Learned rows.
    SpecZ,
    /// Rejected rows.
    Rejects,
}

impl Folder {
    /// The folder of a file, from its path below the output.
    pub fn of(path: &str) -> Option<Self> {
        let first = path.split('/').next();
        [Self::Photoz, Self::SpecZ, Self::Rejects]
            .into_iter()
            .find(|folder| Some(folder.name()) == first)
    }

    /// The name of the folder below the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Photoz => paths::PHOTOZ,
            Self::SpecZ => paths::SPECZ,
            Self::Rejects => paths::REJECTS,
        }
    }
}
