//! Errors on the wire: one gRPC code per [`Fault`], and back.
//!
//! The metadata key `psi-fault` carries the fault's name and is what counts; the code is the nearest that
//! gRPC has, for those who look with other tools. A status without that key was not written by this
//! protocol: it is the network's, gRPC's, or another service's.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::psi::{Error, Fault, PeerMisbehaved, Phase};

use super::{MESSAGE_BYTES_MAX, VERSION_PATH, sanitise};

/// The metadata key of a status that carries the fault's name.
const FAULT_KEY: &str = "psi-fault";

/// The metadata key of a request that carries the asking party's name.
pub(crate) const PARTY_KEY: &str = "psi-party";

/// The gRPC code of a fault.
fn code(fault: Fault) -> Code {
    match fault {
        Fault::Peer => Code::InvalidArgument,
        Fault::Incompatible => Code::Unimplemented,
        Fault::Refused => Code::PermissionDenied,
        Fault::Caller => Code::FailedPrecondition,
        Fault::Environment => Code::Unavailable,
        Fault::Internal => Code::Internal,
    }
}

/// The status that tells the peer of an error: its fault, and its `Display`, nothing beyond.
pub(crate) fn to_status(error: &Error) -> Status {
    let mut status = Status::new(code(error.fault()), sanitise(&error.to_string()));
    status.metadata_mut().insert(FAULT_KEY, tonic::metadata::MetadataValue::from_static(error.fault().name()));
    status
}

/// The error that a status from `peer`, in `phase` if one is open, stands for.
pub(crate) fn from_status(status: &Status, peer: &str, phase: Option<Phase>) -> Error {
    let reason = sanitise(status.message());
    let fault = status.metadata().get(FAULT_KEY).and_then(|name| name.to_str().ok()).and_then(Fault::from_name);
    if let Some(fault) = fault {
        return Error::Reported { peer: peer.to_owned(), fault, reason };
    }
    let malformed = |reason: String| match phase {
        Some(phase) => PeerMisbehaved::Malformed { phase, reason }.into(),
        None => Error::Incompatible(format!("{peer}: {reason}")),
    };
    match status.code() {
        // tonic's own, before a message is read.
        Code::OutOfRange | Code::ResourceExhausted if status.source().is_none() => {
            malformed(format!("a message is larger than the limit of {MESSAGE_BYTES_MAX} bytes"))
        }
        Code::Unimplemented => Error::Incompatible(format!(
            "{peer} does not know the protocol {VERSION_PATH}: another version of datafusion-psi, or another service, listens there"
        )),
        Code::PermissionDenied | Code::Unauthenticated => {
            Error::Reported { peer: peer.to_owned(), fault: Fault::Refused, reason }
        }
        Code::Internal if status.source().is_none() && phase.is_some() => {
            malformed("a message that is not one of Arrow Flight's".to_owned())
        }
        _ => Error::Environment(format!("{}: {}", lost(peer, phase), cause(status))),
    }
}

/// The beginning of every sentence about a broken connection.
pub(crate) fn lost(peer: &str, phase: Option<Phase>) -> String {
    match phase {
        Some(phase) => format!("the connection with {peer} was lost in phase {phase}"),
        None => format!("the connection with {peer} was lost"),
    }
}

/// The system's words for what broke, where there are any, else gRPC's.
fn cause(status: &Status) -> String {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return sanitise(&io.to_string());
        }
        source = error.source();
    }
    match status.message() {
        "" => status.code().description().to_owned(),
        // hyper's words for a connection that ended in the middle of a stream.
        message if message.contains("error reading a body") => "the other end, or the network, closed it".to_owned(),
        message => sanitise(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(fault: Fault) -> Error {
        match fault {
            Fault::Peer => PeerMisbehaved::Transcript.into(),
            Fault::Incompatible => Error::Incompatible("other normalisers".to_owned()),
            Fault::Refused => Error::Refused("column 'x' is not shared".to_owned()),
            Fault::Caller => Error::Caller("no such table".to_owned()),
            Fault::Environment => Error::Environment("disk full".to_owned()),
            Fault::Internal => Error::Internal("impossible".to_owned()),
        }
    }

    #[test]
    fn each_fault_has_its_code_and_comes_back_with_its_words() {
        let table = [
            (Fault::Peer, Code::InvalidArgument),
            (Fault::Incompatible, Code::Unimplemented),
            (Fault::Refused, Code::PermissionDenied),
            (Fault::Caller, Code::FailedPrecondition),
            (Fault::Environment, Code::Unavailable),
            (Fault::Internal, Code::Internal),
        ];
        assert_eq!(table.map(|(fault, _)| fault), Fault::ALL, "the table is complete");
        for (fault, code) in table {
            let error = error_of(fault);
            assert_eq!(error.fault(), fault);
            let status = to_status(&error);
            assert_eq!(status.code(), code);
            for phase in [None, Some(Phase::Tags)] {
                assert_eq!(
                    from_status(&status, "advertiser", phase),
                    Error::Reported { peer: "advertiser".to_owned(), fault, reason: error.to_string() }
                );
            }
        }
    }

    #[test]
    fn statuses_that_this_protocol_did_not_write_are_told_apart() {
        let phase = Some(Phase::Columns);
        let read = |code: Code, phase| from_status(&Status::new(code, "words\n"), "advertiser", phase);
        assert!(matches!(read(Code::OutOfRange, phase), Error::Peer(PeerMisbehaved::Malformed { .. })));
        assert!(matches!(read(Code::OutOfRange, None), Error::Incompatible(_)));
        assert!(matches!(read(Code::Internal, phase), Error::Peer(PeerMisbehaved::Malformed { .. })));
        assert!(matches!(read(Code::Unimplemented, None), Error::Incompatible(text) if text.contains("psi/1")));
        assert!(matches!(read(Code::PermissionDenied, None), Error::Reported { fault: Fault::Refused, .. }));
        for code in [Code::Unavailable, Code::Cancelled, Code::Unknown, Code::DeadlineExceeded, Code::Ok] {
            let error = read(code, phase);
            assert_eq!(
                error,
                Error::Environment("the connection with advertiser was lost in phase columns: words ".to_owned())
            );
        }
    }

    #[test]
    fn a_forged_fault_name_is_not_believed_and_a_long_text_is_cut() {
        let mut status = Status::new(Code::Unavailable, "x".repeat(5000));
        status.metadata_mut().insert(FAULT_KEY, tonic::metadata::MetadataValue::from_static("nobody"));
        let error = from_status(&status, "advertiser", None);
        assert!(matches!(error, Error::Environment(_)));
        assert!(error.to_string().len() < 800);
    }
}
