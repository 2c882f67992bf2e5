//! The number of a drop's rows by flag.
use std::{collections::BTreeMap, fmt, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// The number of rows by flag, by the names that [`FLAGS`](crate::part::FLAGS) gives. Flags that no row has are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlagCounts(BTreeMap<String, u64>);

impl FlagCounts {
    /// The number of rows with the flag of this name.
    pub fn of_flag(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Whether no row has a flag.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(&'static str, u64)> for FlagCounts {
    fn from_iter<I: IntoIterator<Item = (&'static str, u64)>>(counts: I) -> Self {
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        Self(some.map(|(name, count)| (name.to_owned(), count)).collect())
    }
}

impl AddAssign for FlagCounts {
    fn add_assign(&mut self, other: Self) {
        for (name, count) in other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for FlagCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.iter().map(|(name, count)| format!("{count} {name}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}
