//! Object stores that a table's location may name beside this machine's files: S3 and what speaks its protocol.
//!
//! `s3://BUCKET/KEY` is a file, `s3://BUCKET/FOLDER/` a folder; globs are for this machine alone. Who may read it is no business of
//! `party.toml`: the environment says so by the variables that every tool for S3 knows (`AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`), by a web identity, or by the machine's role; and for
//! another store than Amazon's `AWS_ENDPOINT_URL`, with `AWS_ALLOW_HTTP=true` where it has no TLS. Nothing connects before a
//! table is opened.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use url::Url;

/// The store of a location: one that the session has, or one that its URL says how to make.
///
/// # Errors
/// The end of a sentence that begins with the location.
pub(super) fn store_of(session: &dyn Session, url: &ListingTableUrl) -> Result<Arc<dyn ObjectStore>, String> {
    let runtime = session.runtime_env();
    let missing = match runtime.object_store(url) {
        Ok(store) => return Ok(store),
        Err(missing) => missing,
    };
    match url.scheme() {
        "s3" | "s3a" => {
            let store = url.object_store();
            let at: &Url = store.as_ref();
            if url.as_str().contains(['*', '[']) {
                return Err(
                    "holds a glob, which is for files of this machine: name the folder, as in s3://BUCKET/FOLDER/"
                        .to_owned(),
                );
            }
            let Some(bucket) = at.host_str().map(str::to_owned) else {
                return Err("names no bucket: write s3://BUCKET/PATH".to_owned());
            };
            let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket).build().map_err(|error| {
                format!("cannot be reached as it is set up: {error} (the AWS_… variables of the environment say how)")
            })?;
            let made: Arc<dyn ObjectStore> = Arc::new(s3);
            runtime.register_object_store(at, Arc::clone(&made));
            Ok(made)
        }
        _ => Err(format!(
            "names a store that is not there ({}): give files of this machine, or s3://BUCKET/PATH; whoever embeds this may \
             register other stores with their session",
            missing.strip_backtrace()
        )),
    }
}
