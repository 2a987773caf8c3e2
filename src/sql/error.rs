//! Errors of a private query as DataFusion's, and back.
//!
//! | `psi::Error` | becomes | because |
//! |---|---|---|
//! | every variant | `DataFusionError::External` around it | whoever embeds this can ask whose fault it is ([`private_query_error`]), the text stays as it is, and no error of ours sends its reader to DataFusion's tracker, as `DataFusionError::Internal` would |
//!
//! The other way round: an error of the engine while the *owner* reads its table says nothing to the
//! peer but that the table could not be read; its words, which may name files, go to the owner's log.

use std::sync::Arc;

use datafusion::error::DataFusionError;

use super::rule::{PsiGuard, PsiRule};
use crate::psi::Error;

/// The error as DataFusion passes it on.
pub(super) fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The error of a private query inside an error of DataFusion, wherever it is wrapped; `None` for an
/// error that has nothing to do with one. [`Error::fault`] says whose fault it is.
pub fn private_query_error(error: &DataFusionError) -> Option<&Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        cause = match error.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Context(_, inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

/// What an error says to whoever wrote the statement: ours in its own words however deep it lies, the engine's
/// without its word for their kind, which says nothing.
pub fn error_words(error: &DataFusionError) -> String {
    if let Some(own) = private_query_error(error) {
        return own.to_string();
    }
    let mut error = error;
    // The analyzer adds the name of the rule that refused: ours says all there is to say.
    while let DataFusionError::Context(name, inner) = error
        && (name == PsiRule::NAME || name == PsiGuard::NAME)
    {
        error = inner;
    }
    let text = error.strip_backtrace();
    let mut line = text.as_str();
    let kinds = [
        "Error during planning: ",
        "External error: ",
        "Invalid or Unsupported Configuration: ",
        "This feature is not implemented: ",
    ];
    while let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) {
        line = rest;
    }
    line.to_owned()
}

/// The answer of an [`AnswerCell`](super::AnswerCell), for one of those that read it.
pub(super) fn shared_error(error: &Arc<DataFusionError>) -> DataFusionError {
    DataFusionError::Shared(Arc::clone(error))
}

/// An error of the engine while this side reads its own relation: passed on as it is, except one of ours.
pub(super) fn local_error(error: DataFusionError) -> DataFusionError {
    error.context("the local side of a private query failed, and nothing was sent")
}

/// What the peer hears of an error of the engine at the owner of a table.
pub(super) fn owner_error(owner: &str, table: &str, error: &DataFusionError) -> Error {
    if let Some(own) = private_query_error(error) {
        return own.clone();
    }
    tracing::error!(table, error = %error.strip_backtrace(), "a shared table cannot be read");
    Error::Environment(format!("'{owner}' cannot read its table '{table}' at the moment; its log says why"))
}

/// What the peer hears of a table that is over its owner's limits: not its length, which nobody has paid for yet.
pub(super) fn too_large(owner: &str, table: &str, error: &Error) -> Error {
    tracing::error!(table, %error, "a shared table is too large for a session");
    Error::Environment(format!(
        "'{owner}' cannot answer about its table '{table}', which is over its own limits; its log says more"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psi::{Fault, PeerMisbehaved, Phase};

    fn every_variant() -> Vec<(Error, Fault)> {
        vec![
            (Error::Peer(PeerMisbehaved::Transcript), Fault::Peer),
            (Error::Peer(PeerMisbehaved::Truncated { phase: Phase::Tags, expected: 2, found: 1 }), Fault::Peer),
            (Error::Incompatible("other version".to_owned()), Fault::Incompatible),
            (Error::Refused("not shared".to_owned()), Fault::Refused),
            (Error::Caller("no such column".to_owned()), Fault::Caller),
            (Error::Environment("connection refused".to_owned()), Fault::Environment),
            (Error::Internal("impossible".to_owned()), Fault::Internal),
            (
                Error::Reported { peer: "advertiser".to_owned(), fault: Fault::Refused, reason: "no".to_owned() },
                Fault::Refused,
            ),
        ]
    }

    #[test]
    fn every_error_keeps_its_text_and_its_fault_through_the_engine() {
        for (error, fault) in every_variant() {
            let wrapped = to_datafusion(error.clone());
            assert!(wrapped.to_string().contains(&error.to_string()), "{wrapped}");
            assert!(!wrapped.to_string().contains("DataFusion's code"), "{wrapped}");
            let deep = DataFusionError::Shared(Arc::new(wrapped.context("while collecting")));
            let found = private_query_error(&deep).expect("it is inside");
            assert_eq!((found, found.fault()), (&error, fault));
        }
        assert_eq!(Fault::ALL.len(), 6, "a new fault needs a row above");
    }

    #[test]
    fn an_error_of_the_engine_is_none_of_ours() {
        assert_eq!(private_query_error(&DataFusionError::Plan("x".to_owned())), None);
        assert_eq!(private_query_error(&local_error(DataFusionError::Execution("x".to_owned()))), None);
    }

    #[test]
    fn the_peer_does_not_hear_where_the_owner_keeps_its_files() {
        let error = DataFusionError::Execution("cannot open /srv/secret/purchases.parquet".to_owned());
        let told = owner_error("advertiser", "purchases", &error);
        assert_eq!(told.fault(), Fault::Environment);
        assert!(!told.to_string().contains("secret"), "{told}");
        let refused = to_datafusion(Error::Refused("filter".to_owned()));
        assert_eq!(owner_error("advertiser", "purchases", &refused), Error::Refused("filter".to_owned()));
    }
}
