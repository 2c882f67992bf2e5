//! Which real galaxies a survey is drawn from.

use std::str::FromStr;

use crate::error::SampleError;
use crate::streams::{Purpose, key, mix};

/// One parent of this many is kept for tests.
const TEST_ONE_IN: u64 = 5;

/// The rows of the table that galaxies are drawn from. `Train` and `Test` have no row in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParentSplit {
    /// About four rows of five.
    Train,
    /// The other rows.
    Test,
    /// Every row.
    All,
}

impl FromStr for ParentSplit {
    type Err = SampleError;

    fn from_str(text: &str) -> Result<Self, SampleError> {
        match text {
            "train" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            "all" => Ok(Self::All),
            _ => {
                let reason = format!("{text:?} is not train, test or all");
                Err(SampleError::Arguments(reason))
            }
        }
    }
}

impl ParentSplit {
    /// Whether a row belongs to the split, by a hash of the number of the row.
    pub fn holds(self, row: u64) -> bool {
        let is_test = mix(key(0, Purpose::Parents) ^ row).is_multiple_of(TEST_ONE_IN);
        match self {
            Self::Train => !is_test,
            Self::Test => is_test,
            Self::All => true,
        }
    }
}
