//! Finds the causes behind the errors of the clients for the network stores.

use std::error::Error as StdError;
use std::io;

use rustls::AlertDescription;

/// The TLS alerts by which a server refuses this client's certificate.
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

/// The reasons of an error, from the outermost to its innermost cause, each in the words of `say`. A reason
/// that an outer one already contains is left out.
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

/// Whether a request that got no answer was certainly not carried out. Either it was not sent; or the server
/// says that it did not process the request, by an HTTP/2 GOAWAY whose last processed request is an earlier
/// one (the client gives this error to no other request), or by refusing the request's stream (RFC 9113, 6.8
/// and 8.7).
///
/// hyper also gives a GOAWAY's error to a request that it has just handed to the connection, whatever the
/// GOAWAY names. Such a request was not sent where one thread drives both, as in all programs here
/// (`setup::runtime`): nothing can be sent, processed and answered between two steps of one poll.
pub(crate) fn was_not_processed(error: &(dyn StdError + 'static)) -> bool {
    // hyper's error for a request that it did not send is "canceled".
    let is_unsent = find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
    let is_disowned = find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    });
    is_unsent || is_disowned
}

/// The first error of type `T` among an error and its causes. Looks into I/O errors, which hide the error
/// inside them from `source`.
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
