//! New keys and self-signed certificates, for `init`, the demo and tests.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use zeroize::{Zeroize, Zeroizing};

use crate::psi::Error;

/// How long a certificate of [`make`] is valid, in days: two years.
const VALID_DAYS: i64 = 730;

/// How long before its making it is valid: clocks differ.
const EARLY_HOURS: i64 = 1;

/// A new pair, in PEM.
pub struct Made {
    /// The certificate: to be given to peers.
    pub certificate: String,
    /// Its key: stays here. Wiped when dropped.
    pub key: Zeroizing<String>,
}

/// A new P-256 key and its self-signed certificate in the party's name, valid for two years from now (and an hour
/// before, since clocks differ).
///
/// # Errors
/// [`Error::Caller`] for an empty name or one of more than 64 bytes, [`Error::Internal`] where the system has no
/// randomness.
pub fn make(name: &str) -> Result<Made, Error> {
    let now = Utc::now();
    make_for(name, now - TimeDelta::hours(EARLY_HOURS), now + TimeDelta::days(VALID_DAYS))
}

/// [`make`], with the validity given, in whole seconds of the years 1970 to 9999.
///
/// # Errors
/// As [`make`], and [`Error::Caller`] for a validity outside these years or one that ends before it begins.
pub fn make_for(name: &str, not_before: DateTime<Utc>, not_after: DateTime<Utc>) -> Result<Made, Error> {
    if name.is_empty() || name.len() > 64 {
        return Err(Error::Caller("a certificate's name has 1 to 64 bytes".to_owned()));
    }
    let date = |time: DateTime<Utc>| {
        u64::try_from(time.timestamp())
            .ok()
            .filter(|seconds| *seconds < 253_402_300_800)
            .map(|seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds))
    };
    let (Some(from), Some(to)) = (date(not_before), date(not_after).filter(|_| not_before <= not_after)) else {
        return Err(Error::Caller(
            "a certificate's validity lies in the years 1970 to 9999, its end after its beginning".to_owned(),
        ));
    };
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (from, to);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Nothing here looks at names; other clients of the port may.
    let mut names = vec!["localhost".to_owned()];
    names.extend(dns_name(name).filter(|name| name != "localhost"));
    for name in names {
        params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(Error::internal)?));
    }
    params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(serial()?);
    let mut key = KeyPair::generate().map_err(Error::internal)?;
    let certificate = params.self_signed(&key).map_err(Error::internal)?.pem();
    let made = Made { certificate, key: Zeroizing::new(key.serialize_pem()) };
    key.zeroize();
    Ok(made)
}

/// 126 random bits, positive and of a fixed length (RFC 5280, 4.1.2.2).
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// The party's name as a host's: lower case, other characters as hyphens.
fn dns_name(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).take(63).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

impl Made {
    /// Writes `NAME.pem` and `NAME.key` into a folder, the key for its owner alone, and gives their paths.
    ///
    /// # Errors
    /// [`Error::Caller`] where one of them exists already: neither is ever overwritten. [`Error::Environment`]
    /// where they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf), Error> {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        // The certificate first: without its key it harms nobody.
        for (path, content, mode) in
            [(&certificate, self.certificate.as_bytes(), 0o644), (&key, self.key.as_bytes(), 0o600)]
        {
            write_new(path, content, mode).map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => Error::Caller(format!(
                    "{} exists already, and is not overwritten: move it away first",
                    path.display()
                )),
                _ => Error::Environment(format!("{} cannot be written: {error}", path.display())),
            })?;
        }
        Ok((certificate, key))
    }
}

/// [`make`] and [`Made::write`] in one.
///
/// # Errors
/// Theirs.
pub fn write(folder: &Path, name: &str) -> Result<(PathBuf, PathBuf), Error> {
    make(name)?.write(folder, name)
}

/// Writes a new file, which has its mode from its first moment, down to the disk.
fn write_new(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_once_with_its_modes_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "publisher").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let before = std::fs::read(&key).unwrap();
        assert!(write(folder.path(), "publisher").unwrap_err().to_string().contains("publisher.pem exists already"));
        std::fs::remove_file(certificate).unwrap();
        assert!(write(folder.path(), "publisher").unwrap_err().to_string().contains("publisher.key exists already"));
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }

    #[test]
    fn names_become_host_names_where_they_can() {
        for (name, host) in [("Publisher_1.eu", Some("publisher-1-eu")), ("__", None), ("größe", Some("gr--e"))] {
            assert_eq!(dns_name(name).as_deref(), host);
            make(name).unwrap();
        }
        assert!(make("").is_err() && make(&"x".repeat(65)).is_err());
        let now = Utc::now();
        assert!(make_for("x", now, now - TimeDelta::days(1)).is_err());
    }
}
