//! Where a peer listens: `grpc://HOST:PORT`.

use crate::psi::Error;

/// A checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As it was given.
    pub(super) text: String,
    /// What the HTTP/2 client connects to.
    pub(super) uri: String,
}

impl Address {
    /// Reads an address: plain text for loopback hosts alone.
    pub(super) fn parse(peer: &str, text: &str) -> Result<Address, Error> {
        let wrong = |reason: &str| Error::Caller(format!("the address '{text}' of {peer} {reason}"));
        if text.starts_with("grpc+tls://") {
            return Err(wrong(
                "asks for TLS, which this version does not have yet: use grpc://127.0.0.1:PORT between parties on one machine",
            ));
        }
        let rest = text.strip_prefix("grpc://").ok_or_else(|| wrong("is not of the form grpc://HOST:PORT"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) =
            rest.rsplit_once(':').ok_or_else(|| wrong("names no port; it is written grpc://HOST:PORT"))?;
        if port.parse::<u16>().ok().filter(|number| *number > 0).is_none() {
            return Err(wrong("has no port number from 1 to 65535"));
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let loopback =
            bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !loopback {
            return Err(wrong(
                "is not on this machine: without TLS, which this version does not have yet, only loopback addresses such as grpc://127.0.0.1:PORT are allowed",
            ));
        }
        Ok(Address { text: text.to_owned(), uri: format!("http://{host}:{port}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_read() {
        for (text, uri) in [
            ("grpc://127.0.0.1:50052", "http://127.0.0.1:50052"),
            ("grpc://localhost:1/", "http://localhost:1"),
            ("grpc://[::1]:65535", "http://[::1]:65535"),
        ] {
            assert_eq!(Address::parse("advertiser", text).unwrap().uri, uri);
        }
    }

    #[test]
    fn other_hosts_schemes_and_ports_are_refused_in_words() {
        for (text, word) in [
            ("grpc+tls://127.0.0.1:50052", "TLS"),
            ("grpc://10.0.0.1:50052", "loopback"),
            ("grpc://example.com:50052", "loopback"),
            ("grpc://localhost.example.com:50052", "loopback"),
            ("grpc://user@127.0.0.1:50052", "loopback"),
            ("http://127.0.0.1:50052", "grpc://HOST:PORT"),
            ("127.0.0.1:50052", "grpc://HOST:PORT"),
            ("grpc://127.0.0.1", "port"),
            ("grpc://127.0.0.1:0", "port"),
            ("grpc://127.0.0.1:70000", "port"),
            ("grpc://127.0.0.1:5/table", "port"),
        ] {
            let error = Address::parse("advertiser", text).unwrap_err();
            assert!(
                matches!(&error, Error::Caller(message) if message.contains(word) && message.contains(text)),
                "{error}"
            );
        }
    }
}
