//! Peers that no `[[peer]]` names: an analyst names them in SQL, on the terms of `[[ask]] of = ["*"]`.

use std::path::PathBuf;

use crate::psi;

use super::names;
use super::party::{Ask, Party};

/// What stands in `of` for every peer that no `[[peer]]` names.
pub(super) const ANYBODY: &str = "*";

/// A peer as whoever asks it describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnnamedPeer {
    /// The name that the peer's own policy gives it: it refuses whoever calls it otherwise, so that no second name
    /// brings a second budget.
    pub name: String,
    /// `grpc+tls://HOST:PORT`, or `grpc://HOST:PORT` on loopback.
    pub address: String,
    /// The certificate that it is, in a PEM file (relative: to the policy's folder); `None`: plain text on loopback.
    pub certificate: Option<PathBuf>,
}

impl Party {
    /// This party as one that knows that peer alone, may ask it on the terms of `[[ask]] of = ["*"]`, and shares nothing.
    ///
    /// # Errors
    /// `Refused` where no `[[ask]]` is for anybody; `Caller` for a description that no `[[peer]]` could have.
    pub fn with_unnamed(&self, peer: &UnnamedPeer) -> Result<Party, psi::Error> {
        let ask = self.asks.iter().find(|ask| ask.is_for_anybody()).ok_or_else(|| {
            psi::Error::Refused(format!(
                "this party's own policy asks the peers alone that it names; to let analysts name others, add at the end of {}: \
                 [[ask]], and in it: of = [\"*\"], population = \"NAME\"; [ask.budget], and in it: queries = 100, \
                 sizes = {{ epsilon = 2.0 }}",
                self.file.display()
            ))
        })?;
        if self.peer(&peer.name).is_some() {
            return Err(psi::Error::Caller(format!(
                "'{}' is a [[peer]] of {}, at another address than this one: use its schema, or correct the address",
                names::shown(&peer.name),
                self.file.display()
            )));
        }
        let known = match &peer.certificate {
            Some(file) => format!("certificate = {}", names::toml_text(&file.to_string_lossy())),
            None => "plaintext = true".to_owned(),
        };
        let own = self.own_tls.as_ref().map_or_else(String::new, |own| {
            format!(
                "certificate = {}\nkey = {}\n",
                names::toml_text(&own.certificate.to_string_lossy()),
                names::toml_text(&own.key.to_string_lossy())
            )
        });
        let text = format!(
            "[party]\nname = {}\n{own}[[peer]]\nname = {}\naddress = {}\n{known}\n",
            names::toml_text(&self.name),
            names::toml_text(&peer.name),
            names::toml_text(&peer.address),
        );
        // By the reader of policies, so that nothing is possible here that a policy could not say.
        let read = Party::parse(&text, &self.file).map_err(|error| {
            psi::Error::Caller(format!("no peer can be described so: {}; {}", error.what, error.advice))
        })?;
        let asks = vec![Ask { of: vec![peer.name.clone()], ..ask.clone() }];
        Ok(Party { peers: read.peers, asks, shares: Vec::new(), ..self.clone() })
    }
}

impl Ask {
    /// Whether it is for peers that no `[[peer]]` names.
    pub fn is_for_anybody(&self) -> bool {
        self.of.iter().any(|of| of == ANYBODY)
    }
}
