//! `[server]` and `[[peer]]`: addresses, certificates, and where plain text is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::super::error::ConfigError;
use super::super::names;
use super::super::party::{FileKind, NamedFile, Party, Peer, Server, TlsFiles};
use super::reader::{Key, Section, Value};
use super::{each, named};

/// The most certificates of one peer: the old one and the new one, and room for a few machines.
const CERTIFICATES_MAX: usize = 8;

/// The most files of analysts' certificates.
const CLIENTS_MAX: usize = 16;

const SERVER: &[Key] = &[
    Key { name: "listen", example: "listen = \"127.0.0.1:50052\"" },
    Key { name: "certificate", example: "certificate = \"tls/advertiser.pem\"" },
    Key { name: "key", example: "key = \"tls/advertiser.key\"" },
    Key { name: "clients", example: "clients = \"tls/analysts.pem\"" },
    Key { name: "tokens", example: "tokens = \"tls/tokens.txt\"" },
    Key { name: "plaintext", example: "plaintext = true" },
];
const PEER: &[Key] = &[
    Key { name: "name", example: "name = \"publisher\"" },
    Key { name: "address", example: "address = \"grpc+tls://psi.publisher.example:50051\"" },
    Key { name: "certificate", example: "certificate = \"tls/publisher.pem\"" },
    Key { name: "plaintext", example: "plaintext = true" },
];

/// A section's `certificate` and `key`, which stand together or not at all, with their line.
pub(super) fn tls_files(
    section: &Section<'_, '_>,
    path: &Path,
    files: &mut Vec<NamedFile>,
) -> Result<Option<(TlsFiles, usize)>, ConfigError> {
    if section.optional("certificate").is_none() && section.optional("key").is_none() {
        return Ok(None);
    }
    let (certificate, key) = (section.required("certificate")?, section.required("key")?);
    let role = |what: &str| format!("the {what} of {}", section.title);
    let tls = TlsFiles {
        certificate: named(certificate, path, FileKind::Certificate, role("certificate"), files)?,
        key: named(key, path, FileKind::Key, role("key"), files)?,
    };
    if tls.certificate == tls.key {
        return Err(key
            .error("names the certificate's file", "the key stands in a file of its own, which nobody else may read"));
    }
    Ok(Some((tls, certificate.line())))
}

/// `of_party`: what `[party]` says of a certificate.
pub(super) fn server(
    value: &Value<'_, '_>,
    path: &Path,
    of_party: Option<&(TlsFiles, usize)>,
    files: &mut Vec<NamedFile>,
) -> Result<Server, ConfigError> {
    let section = value.section("[server]", SERVER)?;
    let plaintext = section.optional("plaintext").map_or(Ok(false), Value::boolean)?;
    let own = tls_files(&section, path, files)?;
    if let (Some(certificate), Some((_, line))) = (section.optional("certificate"), of_party) {
        return Err(certificate.error(
            format_args!("stands here, and [party] has one too, at line {line}"),
            "a party is known by one certificate: write it in one place",
        ));
    }
    if let (true, Some(_), Some(word)) = (plaintext, &own, section.optional("plaintext")) {
        return Err(word.error(
            "is true, beside a certificate",
            "remove plaintext, and the server speaks TLS; or remove certificate and key",
        ));
    }
    let tls = if plaintext { None } else { own.or(of_party.cloned()).map(|(tls, _)| tls) };
    if tls.is_none() && !plaintext {
        return Err(section.error(
            "[server] lacks 'certificate'",
            "add certificate = \"tls/NAME.pem\" and key = \"tls/NAME.key\", which `datafusion-psi init` makes; \
             or, for peers on this machine alone, plaintext = true",
        ));
    }
    let clients = match (section.optional("clients"), &tls) {
        (None, _) => Vec::new(),
        (Some(value), None) => {
            return Err(value.error(
                "needs TLS, and the server speaks plain text",
                "remove it, or give the server a certificate and a key",
            ));
        }
        (Some(value), Some(tls)) => clients(value, tls, path, files)?,
    };
    let role = "tokens of [server]".to_owned();
    let tokens = section.optional("tokens");
    let tokens = tokens.map(|value| named(value, path, FileKind::Tokens, role, files)).transpose()?;
    Ok(Server { listen: listen(section.required("listen")?, plaintext)?, tls, clients, tokens })
}

/// The certificates of analysts: a file, or a list of several.
fn clients(
    value: &Value<'_, '_>,
    own: &TlsFiles,
    path: &Path,
    files: &mut Vec<NamedFile>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let advice = format!("name 1 to {CLIENTS_MAX}; one may hold many certificates");
    certificate_files(value, (CLIENTS_MAX, advice), "clients of [server]", path, files, |file| {
        is_own(own, file).then(|| {
            let what = "which is this party's own".to_owned();
            (what, "whoever runs SQL has a certificate of its own: `datafusion-psi init` makes one")
        })
    })
}

/// Files of certificates: one, or a list of 1 to so many (and what to advise where there are others), each once. `wrong` says
/// of a file what is wrong with it, as the end of a sentence that names it, and what to do.
fn certificate_files(
    value: &Value<'_, '_>,
    (most, advice): (usize, String),
    role: &str,
    path: &Path,
    files: &mut Vec<NamedFile>,
    wrong: impl Fn(&PathBuf) -> Option<(String, &'static str)>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let several = if value.is_text() {
        vec![value.clone()]
    } else {
        value.list().map_err(|_| value.another_type("a file or a list of files"))?
    };
    if several.is_empty() || several.len() > most {
        return Err(value.error(format_args!("names {} files", several.len()), advice));
    }
    let mut found: Vec<PathBuf> = Vec::with_capacity(several.len());
    for value in &several {
        let shown = names::shown(value.text()?);
        let file = named(value, path, FileKind::Certificate, role.to_owned(), files)?;
        if found.contains(&file) {
            return Err(value.error(format_args!("names '{shown}' twice"), "name it once"));
        }
        if let Some((what, advice)) = wrong(&file) {
            return Err(value.error(format_args!("names '{shown}', {what}"), advice));
        }
        found.push(file);
    }
    Ok(found)
}

fn is_own(own: &TlsFiles, file: &PathBuf) -> bool {
    own.certificate == *file || own.key == *file
}

fn listen(value: &Value<'_, '_>, plaintext: bool) -> Result<SocketAddr, ConfigError> {
    let text = value.text()?;
    let due = "write an address such as 127.0.0.1:50052 (port 0 lets the system choose)";
    let wrong = |what: &str, advice: &str| value.error(format_args!("is '{}', {what}", names::shown(text)), advice);
    let (host, port) = host_and_port(text).ok_or_else(|| wrong("which is no address with a port", due))?;
    let ip = match loopback(host) {
        Some(ip) => ip,
        None if plaintext => {
            return Err(wrong(
                "which is not loopback",
                "listen on 127.0.0.1, [::1] or localhost: plain text must not leave this machine; \
                 to be reached from others, give the server a certificate and a key",
            ));
        }
        None => bare(host).parse().map_err(|_| {
            wrong(
                "whose host is no IP address",
                "write the address of one of this machine's networks, or 0.0.0.0 for all",
            )
        })?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// Splits `HOST:PORT`; an IPv6 host stands in brackets.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if host.is_empty() || port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// The loopback address that a host's text stands for, if it does.
fn loopback(host: &str) -> Option<IpAddr> {
    if host == "localhost" {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    bare(host).parse().ok().filter(IpAddr::is_loopback)
}

/// A host without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether a text may be a host: a name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(_) => bare(host).parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')),
    }
}

/// Reads all `[[peer]]`; the certificate of this party itself is that of `party`.
pub(super) fn peers(
    top: &Section<'_, '_>,
    party: &Party,
    path: &Path,
    files: &mut Vec<NamedFile>,
) -> Result<Vec<Peer>, ConfigError> {
    let mut peers: Vec<Peer> = Vec::new();
    for value in each(top, "peer")? {
        let mut section = value.section("[[peer]]", PEER)?;
        let name_value = section.required("name")?;
        let name = name_value.sql_name()?;
        if names::is_reserved(&name) {
            return Err(
                name_value.error(format_args!("is '{name}', which SQL keeps for itself"), "choose another name")
            );
        }
        if name == party.name {
            return Err(name_value.error(format_args!("is '{name}', this party's own name"), "a peer is another party"));
        }
        if let Some(other) = peers.iter().find(|peer| peer.name == name) {
            return Err(name_value.error(
                format_args!("is '{name}', as is that of line {}", other.line),
                "give each peer a name of its own",
            ));
        }
        section.title = format!("[[peer]] '{name}'");
        let plaintext = section.optional("plaintext").map_or(Ok(false), Value::boolean)?;
        let address = peer_address(section.required("address")?, plaintext)?;
        let certificates = match (section.optional("certificate"), plaintext) {
            (None, true) => Vec::new(),
            (Some(value), true) => {
                return Err(
                    value.error("stands beside plaintext = true, which has no certificates", "remove one of the two")
                );
            }
            (None, false) => {
                return Err(section.error(
                    format!("{} lacks 'certificate', by which it would be known", section.title),
                    "add certificate = \"tls/NAME.pem\", the file that the peer gave you; \
                     or, for a peer on this machine alone, plaintext = true and an address grpc://127.0.0.1:PORT",
                ));
            }
            (Some(value), false) => certificates(value, party, &peers, &section.title, path, files)?,
        };
        if !plaintext && party.own_tls.is_none() {
            return Err(section.error(
                format!("{} is spoken to by TLS, and this party has no certificate of its own", section.title),
                "add certificate = \"tls/NAME.pem\" and key = \"tls/NAME.key\" to [server], or to [party] where there is no server; \
                 `datafusion-psi init` makes both",
            ));
        }
        peers.push(Peer { name, address, certificates, plaintext, line: section.line() });
    }
    Ok(peers)
}

/// The certificates of a peer: a file, or a list of several.
fn certificates(
    value: &Value<'_, '_>,
    party: &Party,
    peers: &[Peer],
    title: &str,
    path: &Path,
    files: &mut Vec<NamedFile>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let advice = format!(
        "name 1 to {CERTIFICATES_MAX}, for example: certificate = [\"tls/publisher.pem\", \"tls/publisher-next.pem\"]"
    );
    let role = format!("the certificate of {title}");
    certificate_files(value, (CERTIFICATES_MAX, advice), &role, path, files, |file| {
        if let Some(other) = peers.iter().find(|peer| peer.certificates.contains(file)) {
            let what = format!("as does the [[peer]] of line {}", other.line);
            return Some((what, "a certificate stands for one peer: give each its own"));
        }
        let own = party.own_tls.as_ref().is_some_and(|own| is_own(own, file));
        own.then(|| ("which is this party's own".to_owned(), "name the certificate that the peer gave you"))
    })
}

fn peer_address(value: &Value<'_, '_>, plaintext: bool) -> Result<String, ConfigError> {
    let text = value.text()?;
    let due = if plaintext {
        "write an address such as grpc://127.0.0.1:50051"
    } else {
        "write an address such as grpc+tls://psi.publisher.example:50051"
    };
    let wrong = |what: &str, advice: &str| value.error(format_args!("is '{}', {what}", names::shown(text)), advice);
    let rest = match (text.strip_prefix("grpc+tls://"), text.strip_prefix("grpc://"), plaintext) {
        (Some(rest), _, false) | (_, Some(rest), true) => rest,
        (Some(_), _, true) => {
            return Err(wrong(
                "which is TLS, and the peer has plaintext = true",
                "remove plaintext and add certificate = \"tls/NAME.pem\"; or write grpc://127.0.0.1:PORT",
            ));
        }
        (_, Some(_), false) => {
            return Err(wrong(
                "which is plain text",
                "write grpc+tls://HOST:PORT; or, for a peer on this machine alone, add plaintext = true",
            ));
        }
        (None, None, _) => {
            return Err(wrong(
                if plaintext { "which does not begin with grpc://" } else { "which does not begin with grpc+tls://" },
                due,
            ));
        }
    };
    let (host, port) = host_and_port(rest)
        .filter(|(host, _)| is_host(host))
        .ok_or_else(|| wrong("which is no host with a port", due))?;
    if port == 0 {
        return Err(wrong("and port 0 cannot be reached", due));
    }
    if plaintext && loopback(host).is_none() {
        return Err(wrong(
            "which is not loopback",
            "plain text must not leave this machine: write grpc+tls://HOST:PORT and a certificate, and remove plaintext",
        ));
    }
    Ok(text.to_owned())
}
