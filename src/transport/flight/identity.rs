//! Who a peer is. The one place that believes the peer's own word for it; its certificate will replace that.

use tonic::metadata::{MetadataMap, MetadataValue};

use crate::psi::Error;

use super::super::source::PeerIdentity;
use super::super::wire::PARTY_KEY;

/// The most bytes of a party's name.
const NAME_BYTES_MAX: usize = 64;

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// The peer behind a request.
pub(super) fn read(metadata: &MetadataMap) -> Result<PeerIdentity, Error> {
    let mut names = metadata.get_all(PARTY_KEY).iter();
    match (names.next().and_then(|name| name.to_str().ok()), names.next()) {
        (Some(name), None) if is_name(name) => Ok(PeerIdentity { name: name.to_owned() }),
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
