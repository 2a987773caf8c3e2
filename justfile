# One command per habit; each is plain cargo, so that nothing here is needed to work on the project.

# What must pass before a commit lands.
check:
    cargo fmt --check
    cargo test --locked
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
    cargo check --locked --benches
    cargo deny check licenses bans sources

# The product in one minute.
demo:
    cargo run --release -- demo

# Criterion benches, then the end-to-end table.
bench:
    cargo bench
