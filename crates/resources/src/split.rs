//! Splits a pool into equal parts (`calicoctl/commands/ipam/split.go`). Blocks, affinities and addresses stay
//! as they are: the parts have the pool's block size, so each block lies in one part.

use api::cidr::{number, offset};
use api::{Cidr, Resource, Value, validate};
use store::{Batch, Depth, Effects, Expect, ReadSet, Scope, Store};

use crate::client::{Client, Committed, TRIES, resource_in};
use crate::error::{Error, Identifier};
use crate::metadata;
use crate::pools;

/// The most bytes of a resource's name.
const LONGEST_NAME: usize = 253;

/// Why a pool cannot be split in the wanted way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The number of parts is not 2, 4, 8, ... (Calico lets 0 pass, and deletes the pool.)
    #[error(
        "error splitting the CIDR {cidr} into {parts} CIDRs: number to split CIDR into is not a valid power of 2: {parts}"
    )]
    NoPower {
        /// The pool's network.
        cidr: String,
        /// How many parts were wanted.
        parts: i64,
    },
    /// The pool has fewer addresses than there would be parts.
    #[error(
        "error splitting the CIDR {cidr} into {parts} CIDRs: the CIDR {cidr} is not large enough to be split into {parts} parts"
    )]
    TooMany {
        /// The pool's network.
        cidr: String,
        /// How many parts were wanted.
        parts: i64,
    },
    /// A part would break a rule, most often the rule that a pool holds at least one block.
    #[error("error using unsafe create to make split pool with cidr {cidr}: {error}")]
    Part {
        /// The network of the part.
        cidr: String,
        /// The rule that it breaks.
        error: validate::ValidationError,
    },
    /// The pool's network cannot be read.
    #[error("the CIDR of the pool cannot be read: {0}")]
    Cidr(String),
}

/// The networks of the equal parts of a network.
///
/// # Errors
/// [`SplitError::NoPower`], [`SplitError::TooMany`].
pub fn networks(cidr: &Cidr, parts: i64) -> Result<Vec<Cidr>, SplitError> {
    let told = cidr.to_string();
    let count = match u64::try_from(parts) {
        Ok(count) if count > 1 && count.is_power_of_two() => count,
        _ => return Err(SplitError::NoPower { cidr: told, parts }),
    };
    let prefix = u32::from(cidr.prefix()) + count.trailing_zeros();
    let prefix = u8::try_from(prefix).ok().filter(|prefix| *prefix <= cidr.family().bits());
    let Some(prefix) = prefix else { return Err(SplitError::TooMany { cidr: told, parts }) };
    let size = 1u128 << (cidr.family().bits() - prefix);
    let start = number(cidr.first());
    let part = |index: u64| {
        let first = offset(cidr.first(), u128::from(index) * size);
        debug_assert!(number(first) >= start);
        Cidr::of(first, prefix)
    };
    // Every part is inside of the network, so `part` returns one for each index.
    Ok((0..count).filter_map(part).collect())
}

/// The pools that take a pool's place: `split-<name>-0` and so on. They have the pool's labels, annotations
/// and spec, and are enabled.
///
/// # Errors
/// See [`SplitError`]. Only the first part is validated: the parts differ only in where their networks begin.
pub fn parts(pool: &Resource, count: i64) -> Result<Vec<Resource>, SplitError> {
    let text = pool.text(&["spec", "cidr"]).unwrap_or_default();
    let cidr = pools::cidr(pool).ok_or_else(|| SplitError::Cidr(text.to_string()))?;
    let networks = networks(&cidr, count)?;
    // The first part is validated before the others are made: there may be very many, each smaller than a
    // block.
    let first = networks.first().map(|network| part(pool, 0, network));
    if let Some(first) = &first {
        let checked = validate::resource(&api::defaults::on_write(first));
        let cidr = || first.text(&["spec", "cidr"]).unwrap_or_default().to_string();
        checked.map_err(|error| SplitError::Part { cidr: cidr(), error })?;
    }
    Ok(networks.iter().enumerate().map(|(index, network)| part(pool, index, network)).collect())
}

fn part(pool: &Resource, index: usize, network: &Cidr) -> Resource {
    let ending = format!("-{index}");
    let room = LONGEST_NAME - "split-".len() - ending.len();
    let name = &pool.name()[..pool.name().len().min(room)];
    let part = metadata::for_create(&pool.without_residue()).with(|metadata, body| {
        metadata.name = format!("split-{name}{ending}");
        metadata.resource_version = None;
        body.shift_remove("status");
        if let Some(serde_json::Value::Object(spec)) = body.get_mut("spec") {
            spec.insert("cidr".into(), network.to_string().into());
            spec.insert("disabled".into(), false.into());
        }
    });
    part.canonical()
}

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Puts equal parts in the place of a pool. A store with transactions does so in one transaction if that
    /// can hold all parts. Otherwise the parts are created before the pool is deleted, so that no address is
    /// ever without a pool. Parts that an interrupted split has left are used as they are. The inner error
    /// says why nothing was done.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`]; [`Error::AlreadyExists`] if another pool has the name of a part; the store's.
    pub async fn split_pool(
        &self,
        id: &Identifier,
        count: i64,
    ) -> Result<Result<Vec<Resource>, SplitError>, Error> {
        let set = ReadSet::new().scope(Scope::kind(api::Kind::IPPool), Depth::Full);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let view = self.read(&set).await?;
            let (pool, revision) = resource_in(&view, &id.key()).ok_or_else(|| self.does_not_exist(id))?;
            let parts = match parts(&api::defaults::on_read(&pool), count) {
                Ok(parts) => parts,
                Err(error) => return Ok(Err(error)),
            };
            let mut batch = Batch::new();
            for part in &parts {
                match resource_in(&view, &part.key()) {
                    None => {
                        let part = api::defaults::on_write(part);
                        let stored =
                            metadata::with_identity(&part, metadata::uid(self.effects), self.effects.now());
                        batch.put(stored.key(), Expect::Absent, Value::Resource(stored));
                    }
                    Some((there, _)) if pools::cidr(&there) == pools::cidr(part) => {}
                    Some(_) => return Err(self.already_exists(Identifier::of(part))),
                }
            }
            batch.delete(id.key(), Expect::Revision(revision));
            if let Committed::Applied(_) = self.commit(&batch, id).await? {
                return Ok(Ok(parts));
            }
        }
        Err(Error::Conflict(id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_network() {
        let of = |cidr: &str, parts| {
            networks(&cidr.parse().unwrap(), parts)
                .map(|all| all.iter().map(Cidr::to_string).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            of("10.0.0.0/24", 4).unwrap(),
            ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26", "10.0.0.192/26"]
        );
        assert_eq!(of("fd00:1::/112", 8).unwrap()[7], "fd00:1::e000/115");
        assert_eq!(of("10.0.0.0/24", 256).unwrap()[255], "10.0.0.255/32");
        for (parts, fault) in
            [(3, "power of 2: 3"), (1, "power of 2: 1"), (0, "power of 2: 0"), (-2, "power of 2: -2")]
        {
            assert!(of("10.0.0.0/24", parts).unwrap_err().ends_with(fault), "{parts}");
        }
        assert!(of("10.0.0.0/24", 512).unwrap_err().ends_with("not large enough to be split into 512 parts"));
        assert!(of("0.0.0.0/0", i64::MAX / 2 + 1).is_err());
    }
}
