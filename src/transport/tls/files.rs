//! PEM files, read strictly: bounded, of the kind that was asked for, and keys only where nobody else reads them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::psi::Error;

/// The most bytes of a certificate's or key's file.
const FILE_BYTES_MAX: u64 = 256 * 1024;

fn wrong(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Caller(format!("{} {what}", path.display()))
}

/// Reads a whole file; `look` sees its metadata first, those of the file that is then read.
fn bytes(path: &Path, look: impl FnOnce(&std::fs::Metadata) -> Result<(), Error>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unread = |error: std::io::Error| Error::Caller(format!("{} cannot be read: {error}", path.display()));
    // Before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(wrong(path, "is not a file"));
    }
    let file = File::open(path).map_err(unread)?;
    let metadata = file.metadata().map_err(unread)?;
    look(&metadata)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(wrong(path, format!("has {} bytes, {FILE_BYTES_MAX} are allowed", metadata.len())));
    }
    // Room for all of it beforehand: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

/// The certificates of a file, in its order: at least one, and nothing secret beside them.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = bytes(path, |_| Ok(()))?;
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&bytes) {
        let (kind, mut content) = section.map_err(|error| wrong(path, format!("is not a PEM file: {error}")))?;
        match kind {
            SectionKind::Certificate => found.push(CertificateDer::from(content)),
            SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey => {
                content.zeroize();
                return Err(wrong(
                    path,
                    "holds a private key beside the certificate: certificates are handed around, keys never; keep the key in a file of its own",
                ));
            }
            _ => {}
        }
    }
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate (no section '-----BEGIN CERTIFICATE-----')"));
    }
    Ok(found)
}

/// The bytes of a file that only its owner can read; `what` it is, for the error.
pub(super) fn secret(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    bytes(path, |metadata| owner_alone(path, what, metadata))
}

/// The one private key of a file that only its owner can read.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = secret(path, "a private key")?;
    let mut keys = PrivateKeyDer::pem_slice_iter(&bytes);
    let found = keys.next().transpose().map_err(|error| wrong(path, format!("is not a PEM file: {error}")))?;
    let Some(found) = found else {
        let encrypted = bytes.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY");
        return Err(wrong(
            path,
            if encrypted {
                "holds an encrypted key, which nobody could unlock when the server starts: decrypt it with 'openssl pkey' into a file that only this user reads"
            } else {
                "holds no private key (no section '-----BEGIN PRIVATE KEY-----')"
            },
        ));
    };
    match keys.next() {
        None => Ok(found),
        Some(second) => {
            let mut found = found;
            found.zeroize();
            if let Ok(mut second) = second {
                second.zeroize();
            }
            Err(wrong(path, "holds more than one private key"))
        }
    }
}

#[cfg(unix)]
fn owner_alone(path: &Path, what: &str, metadata: &std::fs::Metadata) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(wrong(
        path,
        format!(
            "is {what} that other users of this machine can reach (mode {mode:04o}): run 'chmod 600 {}'",
            path.display()
        ),
    ))
}

#[cfg(not(unix))]
fn owner_alone(_: &Path, _: &str, _: &std::fs::Metadata) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tls::{make, write};

    fn words<T>(result: Result<T, Error>) -> String {
        result.err().expect("it is refused").to_string()
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let (_, path) = write(folder.path(), "publisher").unwrap();
        assert!(key(&path).is_ok());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for mode in [0o640, 0o604, 0o620, 0o601, 0o777] {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
                let words = words(key(&path));
                assert!(words.contains(&format!("chmod 600 {}", path.display())), "{words}");
                assert!(words.contains(&format!("{mode:04o}")), "{words}");
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
            assert!(key(&path).is_ok());
        }
    }

    #[test]
    fn files_of_another_kind_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let made = make("publisher").unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            path
        };
        let both = format!("{}{}", made.certificate, *made.key);
        for (content, word) in [
            (&b""[..], "no certificate"),
            (&[0xff; 100], "no certificate"),
            (made.key.as_bytes(), "private key"),
            (both.as_bytes(), "private key"),
            (&made.certificate.as_bytes()[..200], "not a PEM file"),
            (&[b' '; 300_000], "300000 bytes"),
        ] {
            let words = words(certificates(&file("x.pem", content)));
            assert!(words.contains(word) && words.contains("x.pem"), "{words}");
        }
        let twice = format!("{0}{0}", *made.key);
        for (content, word) in [
            (made.certificate.as_bytes(), "no private key"),
            (twice.as_bytes(), "more than one"),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "openssl pkey"),
        ] {
            let words = words(key(&file("x.key", content)));
            assert!(words.contains(word) && words.contains("x.key"), "{words}");
        }
        assert!(words(certificates(folder.path())).contains("not a file"));
        assert!(words(key(&folder.path().join("nothing"))).contains("cannot be read"));
    }
}
