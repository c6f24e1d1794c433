//! What was found in both families together.

use api::Family;
use ipnet::IpNet;

use super::{Ask, DetectError, Found, Request};

/// The addresses of a node, a value for each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Both<T> {
    /// IPv4.
    pub v4: T,
    /// IPv6.
    pub v6: T,
}

impl<T> Both<T> {
    /// The value of a family.
    pub fn of(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// The addresses that a node is to have, once both families are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detected {
    /// What was found; `None` where what the Node says stays.
    pub found: Both<Option<Found>>,
    /// What could not be found although it was asked for. The Node keeps what it says.
    pub doubts: Vec<DetectError>,
}

/// Judges what was found in both families: a node needs an address of one of them.
///
/// # Errors
/// [`DetectError::NoAddress`] where the node would have none. A Node that names an address keeps it, whatever
/// else fails.
pub fn judge(
    node: &str,
    requests: &Both<Request>,
    results: Both<Result<Option<Found>, DetectError>>,
    stored: &Both<Option<IpNet>>,
) -> Result<Detected, DetectError> {
    let mut detected = Detected::default();
    let mut reasons = Vec::new();
    for (result, family, place) in
        [(results.v4, Family::V4, &mut detected.found.v4), (results.v6, Family::V6, &mut detected.found.v6)]
    {
        match result {
            Ok(found) => *place = found,
            Err(error) => reasons.push((family, error)),
        }
    }
    let has = |family| detected.found.of(family).is_some() || stored.of(family).is_some();
    if !Family::BOTH.into_iter().any(has) {
        let reason = match reasons.first() {
            Some((_, error)) => error.to_string(),
            None => "IP and IP6 ask for none, and the Node names none. Set one of them to autodetect or to \
                     an address"
                .to_string(),
        };
        return Err(DetectError::NoAddress { node: node.to_string(), reason });
    }
    // A host without IPv4 need not say so, if it has IPv6.
    let is_asked = |family: Family| requests.of(family).ask != Ask::Once;
    detected.doubts =
        reasons.into_iter().filter(|(family, _)| is_asked(*family)).map(|(_, error)| error).collect();
    Ok(detected)
}
