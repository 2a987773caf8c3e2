//! The certificates that stand for peers.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::psi::Error;

use super::certificate::{Certificate, fingerprint};
use super::reload::Reloading;
use super::{files, signature};

/// The most certificates of one file of a peer …
const FILE_PINS_MAX: usize = 8;

/// … and of one of this party's own analysts, who may be many.
const FILE_ANALYSTS_MAX: usize = 256;

/// Peers and the files of their certificates, read again when they change. Each certificate of a file is a pin, so
/// that a new one can be added beside the old without a restart.
pub struct Pins {
    peers: BTreeMap<String, Vec<Reloading<Held>>>,
}

/// The pins of one file.
type Held = Vec<Arc<Certificate>>;

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peers = self
            .peers
            .iter()
            .map(|(name, files)| (name, files.iter().flat_map(|file| fingerprints(&file.last())).collect::<Vec<_>>()));
        f.debug_map().entries(peers).finish()
    }
}

fn fingerprints(held: &Held) -> Vec<String> {
    held.iter().map(|certificate| fingerprint(certificate.der())).collect()
}

impl Pins {
    /// Reads the certificates of each peer: one, or several that are valid at once, in one file or several.
    ///
    /// # Errors
    /// [`Error::Caller`] for a file that holds no certificate, or a chain, and for a certificate of two peers.
    pub fn load(peers: impl IntoIterator<Item = (String, Vec<PathBuf>)>) -> Result<Arc<Pins>, Error> {
        Pins::load_at_most(peers, FILE_PINS_MAX)
    }

    /// [`load`](Self::load), for the certificates of this party's own analysts, each of which is somebody.
    ///
    /// # Errors
    /// As there, and for a certificate that is also a peer's.
    pub fn load_analysts(files: &[PathBuf], peers: &Pins) -> Result<Arc<Pins>, Error> {
        let pins = Pins::load_at_most([(ANALYSTS.to_owned(), files.to_vec())], FILE_ANALYSTS_MAX)?;
        for held in pins.of(ANALYSTS) {
            if let Some((peer, _)) = peers.owner(held.der()) {
                return Err(Error::Caller(format!(
                    "the certificate sha256:{} is pinned for the peer '{peer}' and named as one of this party's own analysts: nobody is both, so take it out of one of the two files",
                    fingerprint(held.der())
                )));
            }
        }
        Ok(pins)
    }

    fn load_at_most(peers: impl IntoIterator<Item = (String, Vec<PathBuf>)>, most: usize) -> Result<Arc<Pins>, Error> {
        let mut pins = Pins { peers: BTreeMap::new() };
        let mut owners: HashMap<Arc<[u8]>, String> = HashMap::new();
        for (name, paths) in peers {
            for path in paths {
                let shown = path.display().to_string();
                let file = Reloading::new(vec![path], move |paths| read(paths, most))?;
                for held in file.last().iter() {
                    let other = owners.insert(Arc::clone(held.der()), name.clone()).filter(|other| *other != name);
                    if let Some(other) = other {
                        return Err(Error::Caller(format!(
                            "{shown} holds a certificate of two peers, '{other}' and '{name}': a peer is its certificate, so each needs its own"
                        )));
                    }
                }
                pins.peers.entry(name.clone()).or_default().push(file);
            }
        }
        Ok(Arc::new(pins))
    }

    /// The fingerprints in force for a peer. Blocks on the disk.
    pub fn fingerprints(&self, peer: &str) -> Vec<String> {
        self.of(peer).map(|certificate| fingerprint(certificate.der())).collect()
    }

    /// Checks that `signature` over `message` is by the key of one of the peer's certificates in force, whether
    /// or not it is the one that its last connection showed; and gives that certificate, in DER. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`Error::Refused`] where none fits.
    pub fn verify(&self, peer: &str, message: &[u8], signature: &[u8]) -> Result<Arc<[u8]>, Error> {
        self.of(peer)
            .find(|certificate| signature::verify_by(certificate, message, signature).is_ok())
            .map(|certificate| Arc::clone(certificate.der()))
            .ok_or_else(|| {
                Error::Refused(format!("the signature is by none of the certificates that are pinned for '{peer}'"))
            })
    }

    /// One peer's keys, for whoever checks its signatures and knows nothing of the others.
    pub fn keys(self: &Arc<Self>, peer: &str) -> PeerKeys {
        PeerKeys { pins: Arc::clone(self), peer: peer.to_owned() }
    }

    fn of(&self, peer: &str) -> impl Iterator<Item = Arc<Certificate>> {
        self.peers.get(peer).into_iter().flatten().flat_map(|file| file.current().to_vec())
    }

    /// Whose certificate it is. Blocks on the disk.
    pub(in crate::transport) fn owner(&self, der: &[u8]) -> Option<(&str, Arc<Certificate>)> {
        // Files may have changed so that two peers now hold the same certificate: then it is nobody's.
        let mut found = self
            .peers
            .keys()
            .filter_map(|name| self.of(name).find(|held| **held.der() == *der).map(|held| (name.as_str(), held)));
        match (found.next(), found.next()) {
            (Some(owner), None) => Some(owner),
            (Some((one, _)), Some((other, _))) => {
                tracing::error!(
                    "'{one}' and '{other}' are pinned with the same certificate, sha256:{}; it is believed of neither",
                    fingerprint(der)
                );
                None
            }
            _ => None,
        }
    }

    /// Whether a server that shows this certificate is that peer.
    pub(super) fn trust(&self, peer: &str, der: &[u8], now: DateTime<Utc>) -> Result<(), Error> {
        match self.owner(der) {
            Some((owner, certificate)) if owner == peer => {
                certificate.valid(now).map_err(|why| Error::Refused(format!("the certificate of {peer} {why}")))
            }
            owner => {
                let whose = owner.map_or(String::new(), |(owner, _)| format!(", which is pinned as that of '{owner}'"));
                let pinned: Vec<_> = self.fingerprints(peer).iter().map(|pin| format!("sha256:{pin}")).collect();
                Err(Error::Refused(format!(
                    "the server at {peer}'s address shows the certificate sha256:{}{whose}; pinned for {peer} is {}: either another server answers there, or {peer} has a new certificate, to be got from its operator in a way that you trust and added to `certificate` in its [[peer]]",
                    fingerprint(der),
                    if pinned.is_empty() { "none".to_owned() } else { pinned.join(" and ") },
                )))
            }
        }
    }
}

/// The one name that all certificates of analysts stand under.
const ANALYSTS: &str = "analysts";

/// The keys of one peer's certificates in force.
#[derive(Debug, Clone)]
pub struct PeerKeys {
    pins: Arc<Pins>,
    peer: String,
}

impl PeerKeys {
    /// [`Pins::verify`] for that peer.
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.pins.verify(&self.peer, message, signature).map(|_| ())
    }
}

fn read(paths: &[PathBuf], most: usize) -> Result<Held, Error> {
    let [path] = paths else { return Err(Error::internal("a pin is one file")) };
    let wrong = |what: String| Error::Caller(format!("{} holds {what}", path.display()));
    let certificates = files::certificates(path)?;
    if certificates.len() > most {
        return Err(wrong(format!("{} certificates, {most} are allowed", certificates.len())));
    }
    let held = certificates
        .iter()
        .map(|der| Certificate::read(der).map(Arc::new).map_err(|error| wrong(error.to_string())))
        .collect::<Result<Held, Error>>()?;
    // Whoever holds an issuer's key would be the peer.
    if let Some(issuer) = held.iter().find(|issuer| held.iter().any(|other| other.issued_by(issuer))) {
        return Err(wrong(format!(
            "a chain: sha256:{} is the issuer of another certificate in it; pin the peer's own certificate alone",
            fingerprint(issuer.der())
        )));
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tls::{Credentials, make, write};

    #[test]
    fn two_certificates_are_valid_at_once_and_files_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (old, _) = write(folder.path(), "old").unwrap();
        let (new, _) = write(folder.path(), "new").unwrap();
        let der = |path: &PathBuf| files::certificates(path).unwrap()[0].to_vec();
        let (old_der, new_der) = (der(&old), der(&new));
        let pins = Pins::load([("publisher".to_owned(), vec![old.clone(), new.clone()])]).unwrap();
        assert_eq!(pins.fingerprints("publisher"), [fingerprint(&old_der), fingerprint(&new_der)]);
        let now = Utc::now();
        assert!(pins.trust("publisher", &old_der, now).is_ok() && pins.trust("publisher", &new_der, now).is_ok());
        std::fs::write(&old, make("third").unwrap().certificate).unwrap();
        assert!(pins.owner(&old_der).is_none(), "a pin that was replaced no longer holds");
        std::fs::write(&old, "broken").unwrap();
        let third = pins.fingerprints("publisher");
        assert_eq!(third.len(), 2, "a broken file keeps its last certificate, and the other file stands");
        let words = pins.trust("publisher", &old_der, now).unwrap_err().to_string();
        for shown in [&fingerprint(&old_der), &third[0], &third[1]] {
            assert!(words.contains(shown.as_str()), "{words}");
        }
        assert!(pins.trust("nobody", &new_der, now).unwrap_err().to_string().contains("that of 'publisher'"));
    }

    #[test]
    fn a_certificate_of_two_peers_is_refused_and_later_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let (one, _) = write(folder.path(), "one").unwrap();
        let (two, _) = write(folder.path(), "two").unwrap();
        let both = [("a".to_owned(), vec![one.clone()]), ("b".to_owned(), vec![one.clone()])];
        assert!(Pins::load(both).unwrap_err().to_string().contains("two peers, 'a' and 'b'"));
        let pins = Pins::load([("a".to_owned(), vec![one.clone()]), ("b".to_owned(), vec![two.clone()])]).unwrap();
        std::fs::copy(&one, &two).unwrap();
        let der = files::certificates(&one).unwrap();
        assert!(pins.owner(&der[0]).is_none());
    }

    #[test]
    fn a_file_holds_several_pins_but_no_chain() {
        use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.pem");
        let load = |content: &str| {
            std::fs::write(&path, content).unwrap();
            Pins::load([("a".to_owned(), vec![path.clone()])])
        };
        // Self-signed ones of one name, as a rotation has them.
        let (old, new) = (make("a").unwrap().certificate, make("a").unwrap().certificate);
        assert_eq!(load(&format!("{old}{new}")).unwrap().fingerprints("a").len(), 2);
        assert!(load(&old.repeat(9)).unwrap_err().to_string().contains("9 certificates"));

        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        let root = authority.self_signed(&authority_key).unwrap().pem();
        let issued = CertificateParams::new(vec!["a".to_owned()]).unwrap();
        let issued = issued.signed_by(&key, &Issuer::from_params(&authority, &authority_key)).unwrap().pem();
        assert!(load(&issued).is_ok());
        let words = load(&format!("{issued}{root}")).unwrap_err().to_string();
        assert!(words.contains("a chain") && words.contains("pins.pem"), "{words}");
    }

    #[test]
    fn a_signature_is_found_by_any_pinned_certificate_of_its_peer_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (old, old_key) = write(folder.path(), "old").unwrap();
        let (new, _) = write(folder.path(), "new").unwrap();
        let (other, _) = write(folder.path(), "other").unwrap();
        let pins = Pins::load([("a".to_owned(), vec![new, old.clone()]), ("b".to_owned(), vec![other])]).unwrap();
        let credentials = Credentials::load(&old, &old_key).unwrap();
        let signed = credentials.sign(b"receipt").unwrap();
        assert_eq!(pins.verify("a", b"receipt", &signed).unwrap(), credentials.certificate());
        assert!(pins.keys("a").verify(b"receipt", &signed).is_ok());
        for (peer, message) in [("b", &b"receipt"[..]), ("nobody", b"receipt"), ("a", b"other")] {
            assert!(matches!(pins.verify(peer, message, &signed), Err(Error::Refused(_))), "{peer}");
            assert!(pins.keys(peer).verify(message, &signed).is_err(), "{peer}");
        }
    }
}
