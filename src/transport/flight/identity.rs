//! Who a peer is: the owner of the certificate that its connection shows, where there is TLS; without, on one
//! machine, the peer's own word.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::psi::Error;

use super::super::source::PeerIdentity;
use super::super::tls::{Pins, fingerprint};
use super::super::wire::PARTY_KEY;

/// The most bytes of a party's name.
const NAME_BYTES_MAX: usize = 64;

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// The peer behind a request, by the certificate whose key it has proven to hold. Blocks on the disk.
///
/// Nothing that is refused here learns whether anything is shared, or with whom.
pub(super) fn certified(
    own: &str,
    pins: &Pins,
    certificate: Option<&[u8]>,
    metadata: &MetadataMap,
    now: DateTime<Utc>,
) -> Result<PeerIdentity, Error> {
    let Some(der) = certificate else {
        return Err(Error::Refused(format!(
            "no certificate: {own} answers peers alone, and a peer is a certificate that {own} has pinned"
        )));
    };
    let Some((name, certificate)) = pins.owner(der) else {
        return Err(Error::Refused(format!(
            "unknown certificate sha256:{}: {own} answers peers alone, and its operator would have to add this certificate to [[peer]]",
            fingerprint(der)
        )));
    };
    certificate.valid(now).map_err(|why| Error::Refused(format!("the certificate of {name} {why}")))?;
    if metadata.contains_key(PARTY_KEY) {
        let claimed = read(metadata)?.name;
        if claimed != name {
            return Err(Error::Refused(format!(
                "the certificate is that of '{name}' here, and the request says that '{claimed}' asks: both sides have to write the same name"
            )));
        }
    }
    Ok(PeerIdentity { name: name.to_owned(), certificate: Some(Arc::clone(certificate.der())) })
}

/// The peer behind a request without TLS, by its own word.
pub(super) fn read(metadata: &MetadataMap) -> Result<PeerIdentity, Error> {
    let mut names = metadata.get_all(PARTY_KEY).iter();
    match (names.next().and_then(|name| name.to_str().ok()), names.next()) {
        (Some(name), None) if is_name(name) => Ok(PeerIdentity { name: name.to_owned(), certificate: None }),
        _ => Err(Error::Refused(format!(
            "the request does not say who asks: it needs one metadata entry '{PARTY_KEY}', a party's name"
        ))),
    }
}

/// Names this party in a request.
pub(super) fn write(metadata: &mut MetadataMap, own: &str) -> Result<(), Error> {
    let value = MetadataValue::try_from(own).ok().filter(|_| is_name(own)).ok_or_else(|| {
        Error::Caller(format!(
            "'{}' cannot be a party's name: use 1 to {NAME_BYTES_MAX} letters, digits, '_', '-' or '.'",
            own.escape_default()
        ))
    })?;
    metadata.insert(PARTY_KEY, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_other_texts_are_neither_written_nor_believed() {
        let mut metadata = MetadataMap::new();
        assert!(read(&metadata).is_err(), "no name");
        write(&mut metadata, "publisher_1.eu-west").unwrap();
        assert_eq!(read(&metadata).unwrap().name, "publisher_1.eu-west");
        metadata.append(PARTY_KEY, MetadataValue::from_static("advertiser"));
        assert!(read(&metadata).is_err(), "two names");
        for name in ["", "a b", "a\nb", "é", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(write(&mut MetadataMap::new(), name).is_err(), "{name:?}");
        }
        write(&mut MetadataMap::new(), &"x".repeat(NAME_BYTES_MAX)).unwrap();
    }
}
