//! Keys of Calico's in etcd for which this program has no record type.

use etcd_client::{GetOptions, Txn, TxnOp, TxnOpResponse};
use tokio::time::Instant;

use super::fault::RequestFault;
use super::members::Cluster;
use super::reading::end_of;
use crate::error::StoreError;
use crate::read::is_unknown;

/// The prefix of all keys of Calico's.
const ROOT: &str = "/calico/";
/// How many keys one request asks for.
const PAGE: i64 = 10_000;
/// How many keys with their values one request asks for.
const PAGE_OF_VALUES: i64 = 500;

/// The keys below a prefix, with their values as text.
pub(super) async fn texts_below(
    cluster: &Cluster,
    prefix: &str,
    deadline: Instant,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = Vec::new();
    let mut from = prefix.as_bytes().to_vec();
    loop {
        let options = GetOptions::new().with_range(end_of(prefix)).with_limit(PAGE_OF_VALUES);
        let ask = Txn::new().and_then(vec![TxnOp::get(from, Some(options))]);
        let answer = cluster.ask(&ask, deadline).await.map_err(RequestFault::into_error)?;
        let Some(TxnOpResponse::Get(page)) = answer.op_responses().into_iter().next() else {
            return Ok(found);
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.extend(page.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))));
        match page.kvs().last() {
            Some(last) if page.more() => from = [last.key(), b"\0"].concat(),
            _ => return Ok(found),
        }
    }
}

/// The keys below [`ROOT`] that stand for no record that this program knows: policies, profiles, and those by
/// which Felix and BIRD talk to each other.
pub(super) async fn unknown_keys(cluster: &Cluster, deadline: Instant) -> Result<Vec<String>, StoreError> {
    let mut unknown = Vec::new();
    let mut from = ROOT.as_bytes().to_vec();
    loop {
        let options = GetOptions::new().with_range(end_of(ROOT)).with_keys_only().with_limit(PAGE);
        let ask = Txn::new().and_then(vec![TxnOp::get(from, Some(options))]);
        let answer = cluster.ask(&ask, deadline).await.map_err(RequestFault::into_error)?;
        let Some(TxnOpResponse::Get(page)) = answer.op_responses().into_iter().next() else {
            return Ok(unknown);
        };
        let keys = page.kvs().iter().map(|kv| String::from_utf8_lossy(kv.key()));
        unknown.extend(keys.filter(|key| is_unknown(key)).map(String::from));
        match page.kvs().last() {
            Some(last) if page.more() => from = [last.key(), b"\0"].concat(),
            _ => return Ok(unknown),
        }
    }
}
