//! Where a peer listens: `grpc+tls://HOST:PORT`, or `grpc://HOST:PORT` on this machine.

use crate::psi::Error;

/// A checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As it was given.
    pub(super) text: String,
    /// Whether to connect with TLS.
    pub(super) tls: bool,
    /// A name, or an IP address without brackets.
    pub(super) host: String,
    /// Not 0.
    pub(super) port: u16,
    /// What HTTP/2 requests name.
    pub(super) uri: String,
}

impl Address {
    /// Reads an address: plain text for loopback hosts alone.
    pub(super) fn parse(peer: &str, text: &str) -> Result<Address, Error> {
        let wrong = |reason: &str| Error::Caller(format!("the address '{text}' of {peer} {reason}"));
        let (tls, rest) = match (text.strip_prefix("grpc+tls://"), text.strip_prefix("grpc://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong("is not of the form grpc+tls://HOST:PORT")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) =
            rest.rsplit_once(':').ok_or_else(|| wrong("names no port; it is written grpc+tls://HOST:PORT"))?;
        let port = port.parse::<u16>().ok().filter(|number| *number > 0 && port.bytes().all(|b| b.is_ascii_digit()));
        let port = port.ok_or_else(|| wrong("has no port number from 1 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let bare = bracketed.unwrap_or(host);
        let ip = bare.parse::<std::net::IpAddr>().ok();
        let name = (1..=253).contains(&bare.len())
            && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let is_host = match ip {
            // An IPv6 address in brackets, which an IPv4 address and a name do without.
            Some(ip) => ip.is_ipv6() == bracketed.is_some(),
            None => name && bracketed.is_none(),
        };
        if !is_host {
            return Err(wrong("names no host: neither a name, nor an IPv4 address, nor an IPv6 address in brackets"));
        }
        let loopback = bare == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        if !tls && !loopback {
            return Err(wrong(
                "is not on this machine: without TLS only loopback addresses such as grpc://127.0.0.1:PORT are allowed; with it the address begins with grpc+tls://",
            ));
        }
        Ok(Address { text: text.to_owned(), tls, host: bare.to_owned(), port, uri: format!("http://{host}:{port}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_are_read() {
        for (text, host, port) in [
            ("grpc://127.0.0.1:50052", "127.0.0.1", 50052),
            ("grpc://localhost:1/", "localhost", 1),
            ("grpc://[::1]:65535", "::1", 65535),
            ("grpc+tls://[::1]:65535", "::1", 65535),
            ("grpc+tls://psi.example.com:443/", "psi.example.com", 443),
            ("grpc+tls://10.0.0.1:50052", "10.0.0.1", 50052),
        ] {
            let address = Address::parse("advertiser", text).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.tls, text.starts_with("grpc+tls"));
            assert!(text.ends_with(address.uri.trim_start_matches("http")) || text.ends_with('/'));
        }
    }

    #[test]
    fn other_hosts_schemes_and_ports_are_refused_in_words() {
        for (text, word) in [
            ("grpc+tls://:50052", "host"),
            ("grpc+tls://a b:50052", "host"),
            ("grpc+tls://[::1]x:50052", "host"),
            ("grpc+tls://::1:50052", "host"),
            ("grpc+tls://[127.0.0.1]:50052", "host"),
            ("grpc+tls://user@example.com:50052", "host"),
            ("grpc+tls://example.com:+5", "port"),
            ("grpc://10.0.0.1:50052", "loopback"),
            ("grpc://example.com:50052", "loopback"),
            ("grpc://localhost.example.com:50052", "loopback"),
            ("grpc://user@127.0.0.1:50052", "host"),
            ("http://127.0.0.1:50052", "grpc+tls://HOST:PORT"),
            ("127.0.0.1:50052", "grpc+tls://HOST:PORT"),
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
