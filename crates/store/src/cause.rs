//! What lies behind the errors of the network stores' clients.

use std::error::Error as StdError;
use std::io;

use rustls::AlertDescription;

/// The alerts of a server that does not like our certificate.
pub(crate) const ABOUT_US: [AlertDescription; 8] = [
    AlertDescription::BadCertificate,
    AlertDescription::CertificateRequired,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

/// The reasons from the outermost in, each in the words of `say`; those that a former one has told already are left out.
pub(crate) fn chain(
    error: &(dyn StdError + 'static),
    say: impl Fn(&(dyn StdError + 'static)) -> String,
) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut at = Some(error);
    while let Some(error) = at {
        let text = say(error);
        if !text.is_empty() && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        at = error.source();
    }
    texts.join(": ")
}

/// The first error of a type in the chain; I/O errors hide theirs.
pub(crate) fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let hidden = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        if let Some(found) = hidden.and_then(|hidden| find::<T>(hidden)) {
            return Some(found);
        }
        at = error.source();
    }
    None
}
