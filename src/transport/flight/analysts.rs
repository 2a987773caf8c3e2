//! Who runs SQL as this party: the owner of a certificate that `clients` names, or of a bearer token.
//!
//! | a request shows | and is |
//! |---|---|
//! | a peer's certificate | refused, whatever else it shows: a peer asks by the peer protocol |
//! | a token (`Bearer`, or `Basic` with its name) | whose token it is; refused where it is nobody's |
//! | no token, and an analyst's certificate | that certificate's owner |
//! | neither | refused |
//!
//! Nothing that is refused here learns anything but what it showed itself: the answer does not depend on the call.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::psi::Error;

use super::super::tls::{Pins, Tokens, Whose, fingerprint};
use super::authorization::Shown;
use super::connections::Owner;
use super::incoming::Wire;

/// Those who may run SQL as this party.
pub struct Analysts {
    own: String,
    /// Their certificates, where the policy names any.
    pins: Option<Arc<Pins>>,
    tokens: Option<Tokens>,
    /// The peers', none of which may run SQL.
    peers: Arc<Pins>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Analyst {
    name: Arc<str>,
}

impl Analyst {
    /// What tells this analyst from every other: `certificate sha256:…`, or `token of NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg(test)]
    pub(crate) fn for_tests(name: &str) -> Self {
        Analyst { name: name.into() }
    }
}

/// Why somebody is not one of them, in words for the one who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// It is not known who asks.
    Unknown(String),
    /// It is known, and may not.
    Forbidden(String),
    /// It is known and may, and there is no room, or something is broken.
    Unavailable(String),
}

impl Denied {
    /// The gRPC code and the words.
    pub fn status(&self) -> Status {
        let (code, words) = match self {
            Denied::Unknown(words) => (Code::Unauthenticated, words),
            Denied::Forbidden(words) => (Code::PermissionDenied, words),
            Denied::Unavailable(words) => (Code::Unavailable, words),
        };
        Status::new(code, words)
    }
}

impl Analysts {
    /// Those whose certificates stand in `clients`, or the hashes of whose tokens in `tokens`; `own` is this party's
    /// name, `peers` are its peers' certificates. The files are read again when they change.
    ///
    /// # Errors
    /// [`Error::Caller`] for a file that cannot be used, and for a certificate that is a peer's too.
    pub fn load(own: &str, clients: &[PathBuf], tokens: Option<&Path>, peers: Arc<Pins>) -> Result<Arc<Self>, Error> {
        let pins = if clients.is_empty() { None } else { Some(Pins::load_analysts(clients, &peers)?) };
        let tokens = tokens.map(Tokens::load).transpose()?;
        Ok(Arc::new(Analysts { own: own.to_owned(), pins, tokens, peers }))
    }

    /// Who sends a request with these headers by that connection, which from now on is theirs.
    ///
    /// # Errors
    /// [`Denied`], in words.
    pub async fn identify(self: &Arc<Self>, metadata: &MetadataMap, wire: Option<&Wire>) -> Result<Analyst, Denied> {
        self.who(Shown::in_header(metadata), wire).await
    }

    /// Who shows that name and token, as some clients do once, in a handshake, and not by a header.
    ///
    /// # Errors
    /// [`Denied`], in words.
    pub async fn identify_by_name(
        self: &Arc<Self>,
        name: &str,
        token: &[u8],
        wire: Option<&Wire>,
    ) -> Result<Analyst, Denied> {
        self.who(Shown::named(name, token), wire).await
    }

    /// The token that a request's header shows, whosever it is: for a handshake, which gives it back.
    pub fn token_shown(&self, metadata: &MetadataMap) -> Option<Zeroizing<Vec<u8>>> {
        match (Shown::in_header(metadata), &self.tokens) {
            (Shown::Token { token, .. }, Some(_)) => Some(token),
            _ => None,
        }
    }

    async fn who(self: &Arc<Self>, shown: Shown, wire: Option<&Wire>) -> Result<Analyst, Denied> {
        let certificate = wire.and_then(|wire| wire.certificate.clone());
        let all = Arc::clone(self);
        // Files are looked at.
        let looking = tokio::task::spawn_blocking(move || all.recognise(shown, certificate.as_deref(), Utc::now()));
        let found = looking.await.map_err(|error| Denied::Unavailable(error.to_string()))?;
        let claimed = found.and_then(|analyst| match wire {
            Some(wire) => {
                let owner = Owner::Analyst(analyst.name().to_owned());
                wire.slot.claim(owner).map_err(|error| Denied::Unavailable(error.to_string()))?;
                Ok(analyst)
            }
            None => Ok(analyst),
        });
        claimed.inspect_err(|denied| {
            let from = wire.map(|wire| tracing::field::display(wire.from));
            tracing::warn!(from, ?denied, "SQL refused");
        })
    }

    fn recognise(&self, shown: Shown, certificate: Option<&[u8]>, now: DateTime<Utc>) -> Result<Analyst, Denied> {
        let own = &self.own;
        if let Some((peer, _)) = certificate.and_then(|der| self.peers.owner(der)) {
            return Err(Denied::Forbidden(format!(
                "the certificate is that of the peer '{peer}', and a peer of {own} asks by the peer protocol: SQL here is for {own}'s own analysts, who have certificates or tokens of their own"
            )));
        }
        match (shown, &self.tokens) {
            (Shown::Token { name, token }, Some(tokens)) => self.by_token(tokens, name.as_deref(), &token, now),
            (Shown::Unreadable, Some(_)) => Err(Denied::Unknown(format!(
                "the header 'authorization' is neither 'Bearer TOKEN' nor 'Basic' with a name and a token: give {own}'s server a token that its operator made with `datafusion-psi token`"
            ))),
            (shown, _) => self.by_certificate(certificate, shown != Shown::Nothing, now),
        }
    }

    fn by_token(
        &self,
        tokens: &Tokens,
        name: Option<&str>,
        token: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Analyst, Denied> {
        let own = &self.own;
        match tokens.whose(token, now) {
            Some(Whose::Valid(owner)) if name.is_none_or(|name| name == owner) => {
                Ok(Analyst { name: format!("token of {owner}").into() })
            }
            Some(Whose::Expired(owner, day)) if name.is_none_or(|name| name == owner) => Err(Denied::Unknown(format!(
                "the token of '{owner}' expired at the end of {day} (UTC): ask {own}'s operator for a new one, which `datafusion-psi token {owner}` makes"
            ))),
            // The same words for a right token of another name: it is not for the one who asks to learn that it is one.
            _ => Err(Denied::Unknown(format!(
                "{own} does not know this {}: either it was mistyped, or {own}'s operator has taken it out of `tokens`, and can make a new one with `datafusion-psi token NAME`",
                if name.is_some() { "user name and token (the token is the password)" } else { "token" }
            ))),
        }
    }

    fn by_certificate(
        &self,
        certificate: Option<&[u8]>,
        useless_token: bool,
        now: DateTime<Utc>,
    ) -> Result<Analyst, Denied> {
        let own = &self.own;
        let known = certificate.and_then(|der| self.pins.as_ref().and_then(|pins| pins.owner(der)));
        match (known, certificate) {
            (Some((_, known)), _) => match known.valid(now) {
                Ok(()) => Ok(Analyst { name: format!("certificate sha256:{}", fingerprint(known.der())).into() }),
                Err(why) => Err(Denied::Unknown(format!("the analyst's certificate {why}"))),
            },
            (None, Some(der)) => Err(Denied::Unknown(format!(
                "unknown certificate sha256:{}: {own} runs SQL for its own analysts alone, and its operator would have to add this certificate to a file of `clients` in [server]{}",
                fingerprint(der),
                if self.tokens.is_some() { "; or connect with a token" } else { "" }
            ))),
            (None, None) => Err(Denied::Unknown(format!(
                "{own} runs SQL for its own analysts alone, and this request shows {}: connect with {}, which {own}'s operator has or makes",
                if useless_token { "a token where none is taken" } else { "nothing that it would know one by" },
                match (self.pins.is_some(), self.tokens.is_some()) {
                    (true, false) => "a client certificate",
                    (true, true) => "a client certificate or a token",
                    _ => "a token",
                }
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::transport::tls::{Token, make, make_for, read_certificate};

    /// A party with two analysts (a certificate, a token) and a peer.
    struct Kit {
        folder: tempfile::TempDir,
        ana: Token,
    }

    impl Kit {
        fn new() -> Kit {
            let folder = tempfile::tempdir().unwrap();
            let ana = Token::make("ana", None).unwrap();
            let old = Token::make("old", Some("2020-02-29".parse().unwrap())).unwrap();
            let tokens = folder.path().join("tokens.txt");
            std::fs::write(&tokens, format!("{}\n{}\n", ana.line, old.line)).unwrap();
            #[cfg(unix)]
            std::fs::set_permissions(&tokens, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(folder.path().join("old.txt"), old.token.as_bytes()).unwrap();
            let expired = make_for("gone", Utc::now() - TimeDelta::days(9), Utc::now() - TimeDelta::days(1)).unwrap();
            std::fs::write(folder.path().join("gone.pem"), &expired.certificate).unwrap();
            for name in ["ben", "publisher", "stranger"] {
                std::fs::write(folder.path().join(format!("{name}.pem")), make(name).unwrap().certificate).unwrap();
            }
            Kit { folder, ana }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn der(&self, name: &str) -> Vec<u8> {
            read_certificate(&self.path(&format!("{name}.pem"))).unwrap()
        }

        fn analysts(&self, clients: &[&str], tokens: bool) -> Result<Arc<Analysts>, Error> {
            let peers = Pins::load([("publisher".to_owned(), vec![self.path("publisher.pem")])]).unwrap();
            let clients: Vec<_> = clients.iter().map(|name| self.path(&format!("{name}.pem"))).collect();
            let tokens = tokens.then(|| self.path("tokens.txt"));
            Analysts::load("advertiser", &clients, tokens.as_deref(), peers)
        }
    }

    fn token(token: &str) -> Shown {
        Shown::Token { name: None, token: zeroize::Zeroizing::new(token.as_bytes().to_vec()) }
    }

    fn denied(result: Result<Analyst, Denied>) -> (Code, String) {
        let status = result.expect_err("it is refused").status();
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn certificate_or_token_says_who_it_is_and_each_has_a_name_of_its_own() {
        let kit = Kit::new();
        let analysts = kit.analysts(&["ben", "gone"], true).unwrap();
        let ben = kit.der("ben");
        let now = Utc::now();
        let by = |shown, der: Option<&[u8]>| analysts.recognise(shown, der, now);
        assert_eq!(by(token(&kit.ana.token), None).unwrap().name(), "token of ana");
        assert_eq!(by(Shown::named("ana", kit.ana.token.as_bytes()), None).unwrap().name(), "token of ana");
        let name = format!("certificate sha256:{}", fingerprint(&ben));
        assert_eq!(by(Shown::Nothing, Some(&ben)).unwrap().name(), name);
        assert_eq!(by(token(&kit.ana.token), Some(&ben)).unwrap().name(), "token of ana", "who logs in, counts");
        assert_eq!(by(token(&kit.ana.token), Some(&kit.der("stranger"))).unwrap().name(), "token of ana");
    }

    #[test]
    fn whoever_is_nobody_is_told_what_to_do_and_with_the_right_code() {
        let kit = Kit::new();
        let both = kit.analysts(&["ben", "gone"], true).unwrap();
        let now = Utc::now();
        let by = |shown, der: Option<&[u8]>| denied(both.recognise(shown, der, now));
        let old = std::fs::read_to_string(kit.path("old.txt")).unwrap();
        let (stranger, gone, publisher) = (kit.der("stranger"), kit.der("gone"), kit.der("publisher"));
        for (shown, der, words) in [
            (Shown::Nothing, None, "a client certificate or a token"),
            (Shown::Nothing, Some(&stranger), "unknown certificate sha256:"),
            (Shown::Nothing, Some(&gone), "the analyst's certificate expired on"),
            (Shown::Unreadable, None, "neither 'Bearer TOKEN' nor 'Basic'"),
            (token("psi-nonsense"), None, "does not know this token"),
            (token("psi-nonsense"), Some(&kit.der("ben")), "does not know this token"),
            (token(&old), None, "the token of 'old' expired at the end of 2020-02-29"),
            (Shown::named("ben", kit.ana.token.as_bytes()), None, "does not know this user name and token"),
            (Shown::named("ana", b"x"), None, "does not know this user name and token"),
        ] {
            let (code, text) = by(shown, der.map(Vec::as_slice));
            assert!(code == Code::Unauthenticated && text.contains(words), "{code}: {text}");
        }
        for shown in [Shown::Nothing, token(&kit.ana.token), token("psi-nonsense")] {
            let (code, text) = by(shown, Some(&publisher));
            assert!(code == Code::PermissionDenied && text.contains("that of the peer 'publisher'"), "{text}");
        }
    }

    #[test]
    fn a_way_that_is_not_configured_is_not_taken() {
        let kit = Kit::new();
        let (ben, now) = (kit.der("ben"), Utc::now());
        let certificates = kit.analysts(&["ben"], false).unwrap();
        let (code, text) = denied(certificates.recognise(token(&kit.ana.token), None, now));
        assert!(code == Code::Unauthenticated && text.contains("a token where none is taken"), "{text}");
        assert!(certificates.recognise(token("x"), Some(&ben), now).is_ok(), "a header that nobody asked for");
        let tokens = kit.analysts(&[], true).unwrap();
        let (_, text) = denied(tokens.recognise(Shown::Nothing, Some(&ben), now));
        assert!(text.contains("unknown certificate") && text.contains("connect with a token"), "{text}");
    }

    #[test]
    fn a_peers_certificate_cannot_be_an_analysts_too() {
        let kit = Kit::new();
        let error = kit.analysts(&["ben", "publisher"], false).err().unwrap().to_string();
        assert!(error.contains("peer 'publisher'") && error.contains("nobody is both"), "{error}");
    }
}
