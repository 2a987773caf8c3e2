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
    /// The OT sender's base choices.
    OtChoices,
    /// The OT receiver's answer to them, with the trees' corrections.
    OtReply,
    /// The OT receiver's correction rows.
    OtCorrections,
    /// The OT sender's challenge.
    OtChallenge,
    /// The OT receiver's answer to the challenge.
    OtCheck,
    /// The OT sender's payloads.
    OtPayload,
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
                } else {
                    return Err(unknown());
                }
            }
        };
        Ok(phase)
    }
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
        for phase in phases {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        for text in ["", "elements", "elements-1", "elements-9", "elements-02", "replies-+2", "Hello", "columns "] {
            assert!(text.parse::<Phase>().is_err(), "{text}");
        }
    }
}
