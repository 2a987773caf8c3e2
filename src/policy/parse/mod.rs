//! From the text of a `party.toml` to a [`Party`]: every key known, every value possible, every name
//! referring to something, or an error that says where, what, and what would be right.

mod budget;
mod network;
mod reader;
mod share;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use self::network::{peers, server, tls_files};
use self::reader::{Key, Section, Source, Value};
use super::error::ConfigError;
use super::names;
use super::party::{FileKind, Limits, NamedFile, Ot, Party, Table, TlsFiles};

/// The most bytes of a policy: a thousand shares fit.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most locations of one table.
const LOCATIONS_MAX: usize = 1024;

const TOP: &[Key] = &[
    Key { name: "party", example: "[party], and in it: name = \"advertiser\"" },
    Key { name: "server", example: "[server], and in it: listen = \"127.0.0.1:50052\"" },
    Key { name: "table", example: "[[table]], and in it: name = \"purchases\", location = \"data/*.parquet\"" },
    Key {
        name: "peer",
        example: "[[peer]], and in it: name = \"publisher\", address = \"grpc+tls://psi.publisher.example:50051\", certificate = \"tls/publisher.pem\"",
    },
    Key { name: "share", example: "[[share]], and in it: table = \"purchases\", with = [\"publisher\"]" },
    Key { name: "ask", example: "[[ask]], and in it: of = [\"publisher\"], population = \"shoppers\"" },
    Key { name: "ot", example: "ot = { width = 4 }" },
    Key { name: "limits", example: "[limits], and in it: persons_max = 10000000" },
];
const PARTY: &[Key] = &[
    Key { name: "name", example: "name = \"advertiser\"" },
    Key { name: "state", example: "state = \"state/\"" },
    Key { name: "certificate", example: "certificate = \"tls/advertiser.pem\"" },
    Key { name: "key", example: "key = \"tls/advertiser.key\"" },
];
const TABLE: &[Key] = &[
    Key { name: "name", example: "name = \"purchases\"" },
    Key { name: "location", example: "location = \"data/purchases/*.parquet\"" },
];
const OT: &[Key] = &[Key { name: "width", example: "width = 4" }];
const LIMITS: &[Key] = &[
    Key { name: "persons_max", example: "persons_max = 10000000" },
    Key { name: "dummies_max", example: "dummies_max = 1000000" },
    Key { name: "dummies_factor_max", example: "dummies_factor_max = 4" },
    Key { name: "sessions_max", example: "sessions_max = 4" },
    Key { name: "sessions_per_peer_max", example: "sessions_per_peer_max = 2" },
    Key { name: "connections_max", example: "connections_max = 64" },
    Key { name: "memory_mb", example: "memory_mb = 4096" },
    Key { name: "blind_ahead_mb", example: "blind_ahead_mb = 1024" },
    Key { name: "handshake_seconds_max", example: "handshake_seconds_max = 10" },
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
    let top = Section::open(source, "the policy", document.get_ref(), 0..0, TOP)?;

    let mut files = Vec::new();
    let Itself { name, state, tls } = party_itself(&top, path, &mut files)?;
    let server = top.optional("server").map(|value| server(value, path, tls.as_ref(), &mut files)).transpose()?;
    let limits = limits(&top)?;
    let mut party = Party {
        name,
        file: path.to_owned(),
        state,
        own_tls: tls.map(|(tls, _)| tls).or_else(|| server.as_ref().and_then(|server| server.tls.clone())),
        server,
        tables: tables(&top, path, &mut files)?,
        peers: Vec::new(),
        shares: Vec::new(),
        asks: Vec::new(),
        ot: top.optional("ot").map(ot).transpose()?.unwrap_or_default(),
        limits,
        files: Vec::new(),
    };
    party.peers = peers(&top, &party, path, &mut files)?;
    party.files = files;
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

/// What `[party]` says.
struct Itself {
    name: String,
    state: PathBuf,
    /// With its line.
    tls: Option<(TlsFiles, usize)>,
}

fn party_itself(top: &Section<'_, '_>, path: &Path, files: &mut Vec<NamedFile>) -> Result<Itself, ConfigError> {
    let section = top.required("party")?.section("[party]", PARTY)?;
    let name = section.required("name")?;
    let party = name.sql_name()?;
    if names::is_reserved(&party) {
        return Err(name.error(format_args!("is '{party}', which SQL keeps for itself"), "choose another name"));
    }
    let state = match section.optional("state") {
        Some(value) => folder(path).join(value.text()?),
        None => folder(path).join("state/"),
    };
    Ok(Itself { name: party, state, tls: tls_files(&section, path, files)? })
}

/// The path of a file that the policy names, noted for the check that it is there.
fn named(
    value: &Value<'_, '_>,
    path: &Path,
    kind: FileKind,
    role: String,
    files: &mut Vec<NamedFile>,
) -> Result<PathBuf, ConfigError> {
    let file = folder(path).join(value.text()?);
    files.push(NamedFile { path: file.clone(), kind, role, line: value.line() });
    Ok(file)
}

/// The folder that relative paths start from: that of the file.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn tables(top: &Section<'_, '_>, path: &Path, files: &mut Vec<NamedFile>) -> Result<Vec<Table>, ConfigError> {
    let mut tables: Vec<Table> = Vec::new();
    for value in each(top, "table")? {
        let section = value.section("[[table]]", TABLE)?;
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
        let mut location = Vec::with_capacity(locations.len());
        for value in &locations {
            let place = resolved(value, path)?;
            if !place.contains("://") {
                let role = format!("a location of the table '{name}'");
                files.push(NamedFile { path: PathBuf::from(&place), kind: FileKind::Table, role, line: value.line() });
            }
            location.push(place);
        }
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

fn ot(value: &Value<'_, '_>) -> Result<Ot, ConfigError> {
    let section = value.section("[ot]", OT)?;
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
    let section = value.section("[limits]", LIMITS)?;
    let whole = |key: &str, range, default| section.optional(key).map_or(Ok(default), |value| value.whole(range));
    let seconds = |key: &str, range, default: Duration| whole(key, range, default.as_secs()).map(Duration::from_secs);
    let sessions_max = whole("sessions_max", 1..=1000, defaults.sessions_max)?;
    let limits = Limits {
        persons_max: whole("persons_max", 1..=1 << 30, defaults.persons_max)?,
        dummies_max: whole("dummies_max", 0..=1 << 24, defaults.dummies_max)?,
        dummies_factor_max: whole("dummies_factor_max", 1..=1000, defaults.dummies_factor_max)?,
        sessions_max,
        // What is left out follows what is written: a server of one session has one per peer, and one of a
        // hundred more connections than that.
        sessions_per_peer_max: whole(
            "sessions_per_peer_max",
            1..=1000,
            defaults.sessions_per_peer_max.min(sessions_max),
        )?,
        connections_max: whole("connections_max", 1..=100_000, defaults.connections_max.max(2 * sessions_max))?,
        memory_mb: whole("memory_mb", 64..=1 << 24, defaults.memory_mb)?,
        blind_ahead_mb: whole("blind_ahead_mb", 0..=1 << 24, defaults.blind_ahead_mb)?,
        handshake_max: seconds("handshake_seconds_max", 1..=600, defaults.handshake_max)?,
        connect_max: seconds("connect_seconds_max", 1..=600, defaults.connect_max)?,
        stall_max: seconds("stall_seconds_max", 1..=3600, defaults.stall_max)?,
        session_max: seconds("session_seconds_max", 1..=604_800, defaults.session_max)?,
    };
    for (key, possible, what, advice) in [
        (
            "sessions_per_peer_max",
            limits.sessions_per_peer_max <= sessions_max,
            "above",
            "one peer has at most all sessions",
        ),
        ("connections_max", limits.connections_max >= sessions_max, "below", "each session needs a connection"),
    ] {
        if let (false, Some(value)) = (possible, section.optional(key)) {
            return Err(value.error(format_args!("is {what} sessions_max = {sessions_max}"), advice));
        }
    }
    if let (true, Some(value)) = (limits.blind_ahead_mb > limits.memory_mb, section.optional("blind_ahead_mb")) {
        return Err(value.error(
            format_args!("is above memory_mb = {}", limits.memory_mb),
            "what is blinded ahead takes its room from there",
        ));
    }
    Ok(limits)
}
