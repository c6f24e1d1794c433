//! Checks on the URLs of servers.

/// Why a URL is refused, in words that quote nothing of it: it could mean another host than the reader sees
/// in it, or part of a password could be taken for a host or a port.
pub(crate) fn fault_of(url: &str) -> Option<&'static str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if behind.contains('@') || authority.matches('@').count() > 1 {
        return Some(
            "an @ stands where none may: in a password write %40 for @, %2F for /, %3F for ? and %23 for #",
        );
    }
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = match (host.rsplit_once(']'), host.rsplit_once(':')) {
        (Some((address, behind)), _) => {
            if !address.starts_with('[') || !(behind.is_empty() || behind.starts_with(':')) {
                return Some("its brackets do not stand around the host");
            }
            behind.strip_prefix(':').unwrap_or_default()
        }
        (None, Some((_, port))) => port,
        (None, None) => "",
    };
    (!port.is_empty() && port.parse::<u16>().is_err()).then_some("its port is no number up to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hide_a_password_is_refused() {
        for good in [
            "h",
            "h:1",
            "http://h:",
            "https://u:p@h:1/x",
            "http://[::1]:1",
            "http://u:p@[::1]/",
            "10.0.0.1:2379",
        ] {
            assert_eq!(fault_of(good), None, "{good}");
        }
        for (wrong, why) in [
            ("http://root:pa@hunter2/x@127.0.0.1:1", "an @"),
            ("http://root:123/rest@127.0.0.1:1", "an @"),
            ("root:123?rest@127.0.0.1:1", "an @"),
            ("http://root:12#rest@127.0.0.1:1", "an @"),
            ("http://root:pa@hunter2@127.0.0.1:1", "an @"),
            ("http://root:hunter2", "its port"),
            ("root:99999", "its port"),
            ("[::1]:99999", "its port"),
            ("[::1]::1", "its port"),
            ("[@h:]", "its brackets"),
            ("http://h]:1", "its brackets"),
            ("http://[::1]h:1", "its brackets"),
            ("http://[::1]:hunter2", "its port"),
        ] {
            assert!(fault_of(wrong).is_some_and(|found| found.starts_with(why)), "{wrong}");
        }
    }
}
