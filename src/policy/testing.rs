//! What the room's tests share.

/// A party with one table and two peers, and nothing shared.
pub(super) const PARTIES: &str = r#"
[party]
name = "advertiser"

[server]
listen = "127.0.0.1:50052"
plaintext = true

[[table]]
name = "purchases"
location = "data/purchases/*.parquet"

[[table]]
name = "salaries"
location = ["data/salaries.csv"]

[[peer]]
name = "publisher"
address = "grpc://127.0.0.1:50051"
plaintext = true

[[peer]]
name = "bank"
address = "grpc://localhost:50053"
plaintext = true
"#;

/// The sample of the documentation.
pub(super) const SAMPLE: &str = include_str!("sample.toml");
