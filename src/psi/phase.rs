//! The phases of a session, in their order. Each is one exchange with one schema per direction.

use std::fmt;
use std::str::FromStr;

/// The most identifier columns that a session can match by.
pub const COLUMNS_MAX: usize = crate::dp::COLUMNS_MAX as usize;

/// A step of the protocol in which each side sends at most one stream of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Offer (up), answer (down).
    Hello,
    /// The transcript hash, both ways.
    Confirm,
    /// All K columns, blinded with each side's first scalar, both ways.
    Columns,
    /// The sorted tags of the responder's column 1 (up), which of them matched (down).
    Tags,
    /// The tags of the responder's still unmatched column k in 2..=K (up), the requester's elements of it, padded (down).
    Elements(u8),
    /// Those elements, evaluated (up), which of the tags matched (down).
    Replies(u8),
    /// For the responder's values: the OT sender's (the responder's) base choices.
    OtChoices,
    /// The OT receiver's (the requester's) answer to them, with the trees' corrections.
    OtReply,
    /// The OT receiver's correction rows.
    OtCorrections,
    /// The OT sender's challenge.
    OtChallenge,
    /// The OT receiver's answer to the challenge.
    OtCheck,
    /// The OT sender's payloads.
    OtPayload,
    /// For the requester's own values, round r from 1: the OT sender's (the responder's) base choices.
    OwnChoices(u16),
    /// Round r: the OT receiver's answer to them.
    OwnReply(u16),
    /// Round r: the OT receiver's correction rows.
    OwnCorrections(u16),
    /// Round r: the OT sender's challenge.
    OwnChallenge(u16),
    /// Round r: the OT receiver's answer to the challenge.
    OwnCheck(u16),
    /// Round r: the OT sender's payloads.
    OwnPayload(u16),
    /// The transcript hash again (up), the responder's additive shares with the noise (down); signatures both ways.
    Release,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Phase::Hello => "hello",
            Phase::Confirm => "confirm",
            Phase::Columns => "columns",
            Phase::Tags => "tags",
            Phase::Elements(k) => return write!(f, "elements-{k}"),
            Phase::Replies(k) => return write!(f, "replies-{k}"),
            Phase::OtChoices => "ot-choices",
            Phase::OtReply => "ot-reply",
            Phase::OtCorrections => "ot-corrections",
            Phase::OtChallenge => "ot-challenge",
            Phase::OtCheck => "ot-check",
            Phase::OtPayload => "ot-payload",
            Phase::OwnChoices(round) => return write!(f, "own-choices-{round}"),
            Phase::OwnReply(round) => return write!(f, "own-reply-{round}"),
            Phase::OwnCorrections(round) => return write!(f, "own-corrections-{round}"),
            Phase::OwnChallenge(round) => return write!(f, "own-challenge-{round}"),
            Phase::OwnCheck(round) => return write!(f, "own-check-{round}"),
            Phase::OwnPayload(round) => return write!(f, "own-payload-{round}"),
            Phase::Release => "release",
        };
        f.write_str(name)
    }
}

/// A text that names no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no phase of a session")]
pub struct UnknownPhase(pub String);

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        let later = |digits: &str| {
            digits
                .parse::<u8>()
                .ok()
                .filter(|k| (2..=COLUMNS_MAX as u8).contains(k))
                .filter(|k| k.to_string() == digits)
        };
        let phase = match text {
            "hello" => Phase::Hello,
            "confirm" => Phase::Confirm,
            "columns" => Phase::Columns,
            "tags" => Phase::Tags,
            "ot-choices" => Phase::OtChoices,
            "ot-reply" => Phase::OtReply,
            "ot-corrections" => Phase::OtCorrections,
            "ot-challenge" => Phase::OtChallenge,
            "ot-check" => Phase::OtCheck,
            "ot-payload" => Phase::OtPayload,
            "release" => Phase::Release,
            _ => {
                let unknown = || UnknownPhase(text.chars().take(40).collect());
                if let Some(digits) = text.strip_prefix("elements-") {
                    Phase::Elements(later(digits).ok_or_else(unknown)?)
                } else if let Some(digits) = text.strip_prefix("replies-") {
                    Phase::Replies(later(digits).ok_or_else(unknown)?)
                } else if let Some(rest) = text.strip_prefix("own-") {
                    own(rest).ok_or_else(unknown)?
                } else {
                    return Err(unknown());
                }
            }
        };
        Ok(phase)
    }
}

/// A phase of the requester's own values, from what stands behind `own-`.
fn own(text: &str) -> Option<Phase> {
    let (step, digits) = text.rsplit_once('-')?;
    let part = digits.parse::<u16>().ok().filter(|part| *part > 0 && part.to_string() == digits)?;
    Some(match step {
        "choices" => Phase::OwnChoices(part),
        "reply" => Phase::OwnReply(part),
        "corrections" => Phase::OwnCorrections(part),
        "challenge" => Phase::OwnChallenge(part),
        "check" => Phase::OwnCheck(part),
        "payload" => Phase::OwnPayload(part),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_read_back_from_its_name_and_nothing_else_is() {
        let mut phases = vec![
            Phase::Hello,
            Phase::Confirm,
            Phase::Columns,
            Phase::Tags,
            Phase::OtChoices,
            Phase::OtReply,
            Phase::OtCorrections,
            Phase::OtChallenge,
            Phase::OtCheck,
            Phase::OtPayload,
            Phase::Release,
        ];
        phases.extend((2..=8).flat_map(|k| [Phase::Elements(k), Phase::Replies(k)]));
        for part in [1, 2, 10, u16::MAX] {
            phases.extend([Phase::OwnChoices(part), Phase::OwnReply(part), Phase::OwnCorrections(part)]);
            phases.extend([Phase::OwnChallenge(part), Phase::OwnCheck(part), Phase::OwnPayload(part)]);
        }
        for phase in phases {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        let wrong = ["", "elements", "elements-1", "elements-9", "elements-02", "replies-+2", "Hello", "columns "];
        let wrong_own = ["own", "own-check", "own-check-0", "own-check-01", "own-check-65536", "own-sum-1", "own--1"];
        for text in wrong.into_iter().chain(wrong_own) {
            assert!(text.parse::<Phase>().is_err(), "{text}");
        }
    }
}
