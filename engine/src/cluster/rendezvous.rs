//! A place in a store where the processes of a cluster meet.
//!
//! The place holds numbered invitations: `00000000000000000001.json` is the first. Whoever creates the next number leads
//! that start of the cluster: the invitation says where it can be reached. The others dial it and prove the key, and get
//! their numbers and each other's addresses from it. If the newest invitation is of a process that does not answer any
//! more, a process creates the next. Only create-if-absent is needed, and no clock.
use connectors::{Location, paths};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use super::hello::Generation;
use crate::Error;

/// Where the leader of a start of the cluster can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Invitation {
    /// The start of the cluster.
    pub generation: Generation,
    /// The leader's addresses, `HOST:PORT`.
    pub addresses: Vec<String>,
}

/// A place in a store where the processes of a cluster meet.
#[derive(Clone, Debug)]
pub(crate) struct Rendezvous {
    location: Location,
    /// The folder of the invitations, relative to the location.
    folder: &'static str,
}

impl Rendezvous {
    /// At a place of its own.
    pub fn at(location: Location) -> Self {
        Self {
            location,
            folder: "",
        }
    }

    /// Below an output.
    pub fn below(output: Location) -> Self {
        Self {
            location: output,
            folder: paths::RENDEZVOUS,
        }
    }

    /// The URL of the place, for messages.
    pub fn url(&self) -> String {
        match self.folder {
            "" => self.location.url.clone(),
            folder => self.location.url_of(folder),
        }
    }

    fn name(&self, number: u64) -> String {
        match self.folder {
            "" => format!("{number:020}.json"),
            folder => format!("{folder}/{number:020}.json"),
        }
    }

    /// The newest invitation and its number, if there is one.
    ///
    /// # Errors
    /// Errors of the store; an invitation that cannot be read is as good as one whose process is gone.
    pub(super) async fn newest(&self) -> Result<Option<(u64, Option<Invitation>)>, Error> {
        let Some(number) = self.numbers().await?.into_iter().max() else {
            return Ok(None);
        };
        let text = self.location.read_if_there(&self.name(number)).await?;
        let invitation = text.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Some((number, invitation)))
    }

    /// Creates an invitation. Returns `false` if another process has.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) async fn invite(&self, number: u64, invitation: &Invitation) -> Result<bool, Error> {
        let text = serde_json::to_vec(invitation).expect("invariant: an invitation is plain data");
        let name = self.name(number);
        if self.location.create(&name, text).await? {
            return Ok(true);
        }
        // The answer to an earlier try may have been lost.
        let there = self.location.read_if_there(&name).await?;
        let there = there.and_then(|text| serde_json::from_slice::<Invitation>(&text).ok());
        Ok(there.is_some_and(|there| there == *invitation))
    }

    /// Whether there is an invitation after this one.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn is_overtaken(&self, number: u64) -> Result<bool, Error> {
        Ok(self
            .numbers()
            .await?
            .into_iter()
            .any(|other| other > number))
    }

    /// Deletes the invitations up to a number: their clusters are over.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn clear(&self, up_to: u64) -> Result<(), Error> {
        for number in self.numbers().await? {
            if number <= up_to {
                let name = self.name(number);
                let deleted = self
                    .location
                    .store
                    .delete(&self.location.path(&name)?)
                    .await;
                match deleted {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => (),
                    Err(source) => {
                        let object = self.location.url_of(&name);
                        return Err(connectors::Error::store(object, source).into());
                    }
                }
            }
        }
        Ok(())
    }

    async fn numbers(&self) -> Result<Vec<u64>, Error> {
        let path = self.location.path(self.folder)?;
        let prefix = (!path.as_ref().is_empty()).then_some(&path);
        let objects = self.location.store.list(prefix);
        let numbers = objects.map_ok(|object| {
            let name = object.location.filename()?.strip_suffix(".json")?;
            name.parse().ok()
        });
        let numbers = numbers.try_filter_map(async |number: Option<u64>| Ok(number));
        let numbers: Result<Vec<u64>, object_store::Error> = numbers.boxed().try_collect().await;
        numbers.map_err(|source| connectors::Error::store(self.url(), source).into())
    }
}
