//! Errors as gRPC statuses for this party's own analysts, who may read everything that `datafusion-psi sql` prints.

use arrow_flight::error::FlightError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use tonic::{Code, Status};

use crate::psi::{Fault, one_line};
use crate::sql::{error_words, private_query_error};

/// The most bytes of a status's words: they travel in a header, of which clients take some 8 KiB.
const WORDS_BYTES_MAX: usize = 2000;

/// A status with those words, in one line and short enough to travel.
pub(super) fn status(code: Code, words: &str) -> Status {
    let line = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let mut line = one_line(&line, WORDS_BYTES_MAX);
    if line.len() > WORDS_BYTES_MAX {
        let end = (0..=WORDS_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push_str(" …");
    }
    Status::new(code, line)
}

/// What the engine, or a private query inside it, says.
pub(super) fn engine(error: &DataFusionError) -> Status {
    if let Some(own) = private_query_error(error) {
        let code = match own.fault() {
            Fault::Refused => Code::PermissionDenied,
            Fault::Caller => Code::InvalidArgument,
            Fault::Environment => Code::Unavailable,
            Fault::Peer | Fault::Incompatible => Code::FailedPrecondition,
            Fault::Internal => Code::Internal,
        };
        return status(code, &error_words(error));
    }
    status(code(error), &error_words(error))
}

fn code(error: &DataFusionError) -> Code {
    match error.find_root() {
        DataFusionError::SQL(..) | DataFusionError::Plan(_) | DataFusionError::Configuration(_) => {
            Code::InvalidArgument
        }
        DataFusionError::SchemaError(reason, _) => match reason.as_ref() {
            SchemaError::FieldNotFound { .. } => Code::NotFound,
            _ => Code::InvalidArgument,
        },
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => Code::InvalidArgument,
        DataFusionError::NotImplemented(_) => Code::Unimplemented,
        DataFusionError::ResourcesExhausted(_) => Code::ResourceExhausted,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// What Arrow says of something that this side made.
pub(super) fn arrow(error: impl Into<FlightError>) -> Status {
    match error.into() {
        FlightError::Tonic(status) => *status,
        other => status(Code::Internal, &format!("a result could not be encoded: {other}")),
    }
}

/// What the analyst asked for is none of the things that this service does.
pub(super) fn unimplemented(what: &str, instead: &str) -> Status {
    status(Code::Unimplemented, &format!("{what}: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psi::Error;

    #[test]
    fn whose_fault_it_is_shows_in_the_code_and_the_words_are_those_of_the_command_line() {
        let own = |error: Error| engine(&DataFusionError::External(Box::new(error)).context("somewhere"));
        let refused = own(Error::Refused("advertiser does not share 'x'".to_owned()));
        assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "advertiser does not share 'x'"));
        assert_eq!(own(Error::Environment("away".to_owned())).code(), Code::Unavailable);
        let plan = engine(&DataFusionError::Plan("table 'x' not found\n  did you mean y?".to_owned()));
        assert_eq!((plan.code(), plan.message()), (Code::InvalidArgument, "table 'x' not found did you mean y?"));
        assert_eq!(engine(&DataFusionError::ResourcesExhausted("x".to_owned())).code(), Code::ResourceExhausted);
        assert_eq!(engine(&DataFusionError::Internal("x".to_owned())).code(), Code::Internal);
    }

    #[test]
    fn words_fit_a_header() {
        let long = status(Code::Internal, &"ä\n".repeat(5000));
        assert!(
            long.message().len() < WORDS_BYTES_MAX + 8 && long.message().ends_with(" …"),
            "{}",
            long.message().len()
        );
        assert!(!status(Code::Internal, "a\u{1b}[31m\tb").message().contains('\u{1b}'));
    }
}
