//! From the text of a `party.toml` to a [`Party`]: every key known, every value possible, every name
//! referring to something, or an error that says where, what, and what would be right.

mod budget;
mod reader;
mod share;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use self::reader::{Key, LaterKey, Section, Source, Value};
use super::error::ConfigError;
use super::names;
use super::party::{Limits, Ot, Party, Peer, Server, Table};

/// The most bytes of a policy: a thousand shares fit.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most locations of one table.
const LOCATIONS_MAX: usize = 1024;

const TOP: &[Key] = &[
    Key { name: "party", example: "[party], and in it: name = \"advertiser\"" },
    Key { name: "server", example: "[server], and in it: listen = \"127.0.0.1:50052\"" },
    Key { name: "table", example: "[[table]], and in it: name = \"purchases\", location = \"data/*.parquet\"" },
    Key { name: "peer", example: "[[peer]], and in it: name = \"publisher\", address = \"grpc://127.0.0.1:50051\"" },
    Key { name: "share", example: "[[share]], and in it: table = \"purchases\", with = [\"publisher\"]" },
    Key { name: "ask", example: "[[ask]], and in it: of = [\"publisher\"], population = \"shoppers\"" },
    Key { name: "ot", example: "ot = { width = 4 }" },
    Key { name: "limits", example: "[limits], and in it: persons_max = 10000000" },
];
const PARTY: &[Key] =
    &[Key { name: "name", example: "name = \"advertiser\"" }, Key { name: "state", example: "state = \"state/\"" }];
const SERVER: &[Key] = &[Key { name: "listen", example: "listen = \"127.0.0.1:50052\"" }];
const SERVER_LATER: &[LaterKey] = &[
    LaterKey {
        name: "certificate",
        sentence: "remove it: there is no TLS yet, which is why servers listen on loopback only",
    },
    LaterKey { name: "key", sentence: "remove it: there is no TLS yet, which is why servers listen on loopback only" },
    LaterKey { name: "clients", sentence: "remove it: there is no Flight SQL endpoint yet" },
];
const TABLE: &[Key] = &[
    Key { name: "name", example: "name = \"purchases\"" },
    Key { name: "location", example: "location = \"data/purchases/*.parquet\"" },
];
const PEER: &[Key] = &[
    Key { name: "name", example: "name = \"publisher\"" },
    Key { name: "address", example: "address = \"grpc://127.0.0.1:50051\"" },
];
const PEER_LATER: &[LaterKey] = &[LaterKey {
    name: "certificate",
    sentence: "remove it: there is no TLS yet, which is why peers are reached on loopback only",
}];
const OT: &[Key] = &[Key { name: "width", example: "width = 4" }];
const LIMITS: &[Key] = &[
    Key { name: "persons_max", example: "persons_max = 10000000" },
    Key { name: "dummies_max", example: "dummies_max = 1000000" },
    Key { name: "sessions_max", example: "sessions_max = 4" },
    Key { name: "connect_seconds_max", example: "connect_seconds_max = 10" },
    Key { name: "stall_seconds_max", example: "stall_seconds_max = 60" },
    Key { name: "session_seconds_max", example: "session_seconds_max = 3600" },
];

/// Reads a policy from a file.
pub(super) fn load(path: &Path) -> Result<Party, ConfigError> {
    let unreadable = |reason: &dyn std::fmt::Display, advice: &str| {
        ConfigError::new(path, None, format!("cannot be read: {reason}"), advice)
    };
    let file = std::fs::File::open(path)
        .map_err(|error| unreadable(&error, "name an existing party.toml that this user may read"))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(unreadable(&"it is a folder", "name the party.toml inside it"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error, "name a party.toml that this user may read"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        ConfigError::new(path, Some(line), "the text is not UTF-8", "save the file as UTF-8")
    })?;
    parse(&text, path)
}

/// Reads a policy from a text.
pub(super) fn parse(text: &str, path: &Path) -> Result<Party, ConfigError> {
    let source = Source { file: path, text };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::new(
            path,
            None,
            "it is larger than 1 MiB",
            "a policy is a short text: name the right file",
        ));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let span = error.span().unwrap_or(0..0);
        let place = text.get(span.clone()).filter(|place| !place.is_empty() && place.lines().count() == 1);
        let place = place.map(|place| format!(" at `{}`", names::shown(place))).unwrap_or_default();
        source.error(&span, format!("this is no TOML: {message}{place}"), "see https://toml.io for how TOML is written")
    })?;
    let top = Section::open(source, "the policy", document.get_ref(), 0..0, TOP, &[])?;

    let (name, state) = party_itself(&top, path)?;
    let limits = limits(&top)?;
    let mut party = Party {
        name,
        file: path.to_owned(),
        state,
        server: top.optional("server").map(server).transpose()?,
        tables: tables(&top, path)?,
        peers: Vec::new(),
        shares: Vec::new(),
        asks: Vec::new(),
        ot: top.optional("ot").map(ot).transpose()?.unwrap_or_default(),
        limits,
    };
    party.peers = peers(&top, &party.name)?;
    party.shares = share::shares(&top, &party)?;
    party.asks = share::asks(&top, &party)?;
    Ok(party)
}

/// The tables of `[[KEY]]`, if there are any.
fn each<'s, 'd>(top: &Section<'s, 'd>, key: &str) -> Result<Vec<Value<'s, 'd>>, ConfigError> {
    match top.optional(key) {
        Some(value) => value.list(),
        None => Ok(Vec::new()),
    }
}

fn party_itself(top: &Section<'_, '_>, path: &Path) -> Result<(String, PathBuf), ConfigError> {
    let section = top.required("party")?.section("[party]", PARTY, &[])?;
    let name = section.required("name")?;
    let party = name.sql_name()?;
    if names::is_reserved(&party) {
        return Err(name.error(format_args!("is '{party}', which SQL keeps for itself"), "choose another name"));
    }
    let state = match section.optional("state") {
        Some(value) => folder(path).join(value.text()?),
        None => folder(path).join("state/"),
    };
    Ok((party, state))
}

/// The folder that relative paths start from: that of the file.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn server(value: &Value<'_, '_>) -> Result<Server, ConfigError> {
    let section = value.section("[server]", SERVER, SERVER_LATER)?;
    let listen = section.required("listen")?;
    let text = listen.text()?;
    let due = "write an address such as 127.0.0.1:50052 (port 0 lets the system choose)";
    let (host, port) = host_and_port(text).ok_or_else(|| {
        listen.error(format_args!("is '{}', which is no address with a port", names::shown(text)), due)
    })?;
    match loopback(host) {
        Some(ip) => Ok(Server { listen: SocketAddr::new(ip, port) }),
        None => Err(listen.error(
            format_args!("is '{}', which is not loopback", names::shown(text)),
            "listen on 127.0.0.1, [::1] or localhost: there is no TLS yet, and plain text must not leave this machine",
        )),
    }
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
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok().filter(IpAddr::is_loopback)
}

fn tables(top: &Section<'_, '_>, path: &Path) -> Result<Vec<Table>, ConfigError> {
    let mut tables: Vec<Table> = Vec::new();
    for value in each(top, "table")? {
        let section = value.section("[[table]]", TABLE, &[])?;
        let name_value = section.required("name")?;
        let name = name_value.sql_name()?;
        if let Some(other) = tables.iter().find(|table| table.name == name) {
            return Err(name_value.error(
                format_args!("is '{name}', as is that of line {}", other.line),
                "give each table a name of its own; `location` may be a list",
            ));
        }
        let location = section.required("location")?;
        let locations = if location.is_text() { vec![location.clone()] } else { location.list()? };
        if locations.is_empty() || locations.len() > LOCATIONS_MAX {
            return Err(location.error(
                format_args!("names {} places", locations.len()),
                format!("name 1 to {LOCATIONS_MAX} files, folders or globs"),
            ));
        }
        let location = locations.iter().map(|value| resolved(value, path)).collect::<Result<_, _>>()?;
        tables.push(Table { name, location, line: section.line() });
    }
    Ok(tables)
}

/// A location, joined to the policy's folder unless it is absolute or a URL.
fn resolved(value: &Value<'_, '_>, path: &Path) -> Result<String, ConfigError> {
    let text = value.text()?;
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    folder(path)
        .join(text)
        .into_os_string()
        .into_string()
        .map_err(|_| value.error("lies in a folder whose name is not UTF-8", "move the policy to another folder"))
}

fn peers(top: &Section<'_, '_>, party: &str) -> Result<Vec<Peer>, ConfigError> {
    let mut peers: Vec<Peer> = Vec::new();
    for value in each(top, "peer")? {
        let section = value.section("[[peer]]", PEER, PEER_LATER)?;
        let name_value = section.required("name")?;
        let name = name_value.sql_name()?;
        if names::is_reserved(&name) {
            return Err(
                name_value.error(format_args!("is '{name}', which SQL keeps for itself"), "choose another name")
            );
        }
        if name == party {
            return Err(name_value.error(format_args!("is '{name}', this party's own name"), "a peer is another party"));
        }
        if let Some(other) = peers.iter().find(|peer| peer.name == name) {
            return Err(name_value.error(
                format_args!("is '{name}', as is that of line {}", other.line),
                "give each peer a name of its own",
            ));
        }
        let address = peer_address(section.required("address")?)?;
        peers.push(Peer { name, address, line: section.line() });
    }
    Ok(peers)
}

fn peer_address(value: &Value<'_, '_>) -> Result<String, ConfigError> {
    let text = value.text()?;
    let due = "write an address such as grpc://127.0.0.1:50051";
    let wrong = |what: &str| value.error(format_args!("is '{}', {what}", names::shown(text)), due);
    if text.starts_with("grpc+tls://") {
        return Err(value.error(
            format_args!("is '{}', and TLS is not supported by this version", names::shown(text)),
            "write grpc://127.0.0.1:PORT; a peer on another machine is reached through a tunnel that ends on loopback",
        ));
    }
    let rest = text.strip_prefix("grpc://").ok_or_else(|| wrong("which does not begin with grpc://"))?;
    let (host, port) = host_and_port(rest).ok_or_else(|| wrong("which is no host with a port"))?;
    if port == 0 {
        return Err(wrong("and port 0 cannot be reached"));
    }
    if loopback(host).is_none() {
        return Err(value.error(
            format_args!("is '{}', which is not loopback", names::shown(text)),
            "there is no TLS yet, and plain text must not leave this machine: a peer on another one is reached through a tunnel that ends on loopback",
        ));
    }
    Ok(text.to_owned())
}

fn ot(value: &Value<'_, '_>) -> Result<Ot, ConfigError> {
    let section = value.section("[ot]", OT, &[])?;
    let Some(width) = section.optional("width") else { return Ok(Ot::default()) };
    match width.whole(0..=u64::MAX)? {
        k @ (1 | 2 | 4 | 8) => Ok(Ot { width: k as u8 }),
        k => {
            Err(width
                .error(format_args!("is {k}"), "it must be 1, 2, 4 or 8: a larger one sends less and computes more"))
        }
    }
}

fn limits(top: &Section<'_, '_>) -> Result<Limits, ConfigError> {
    let defaults = Limits::default();
    let Some(value) = top.optional("limits") else { return Ok(defaults) };
    let section = value.section("[limits]", LIMITS, &[])?;
    let whole = |key: &str, range, default| section.optional(key).map_or(Ok(default), |value| value.whole(range));
    let seconds = |key: &str, range, default: Duration| whole(key, range, default.as_secs()).map(Duration::from_secs);
    Ok(Limits {
        persons_max: whole("persons_max", 1..=1 << 30, defaults.persons_max)?,
        dummies_max: whole("dummies_max", 0..=1 << 24, defaults.dummies_max)?,
        sessions_max: whole("sessions_max", 1..=1000, defaults.sessions_max)?,
        connect_max: seconds("connect_seconds_max", 1..=600, defaults.connect_max)?,
        stall_max: seconds("stall_seconds_max", 1..=3600, defaults.stall_max)?,
        session_max: seconds("session_seconds_max", 1..=604_800, defaults.session_max)?,
    })
}
