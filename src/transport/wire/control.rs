//! Control messages: frames without an Arrow header, read before any Arrow decoder sees them.
//!
//! `end` is the last message of every direction of every exchange. A stream that stops without it was cut
//! or cancelled: an orderly close of the connection alone proves nothing, since a dropped client closes
//! its streams just as orderly. `abort`, a fault's name and a text, each on a line of its own, replaces
//! `end` where the requester gives up with a reason (the responder's reason is the gRPC status). `hold`
//! begins the control exchange.

use crate::psi::{Error, Fault, one_line};

use super::Frame;

pub(super) const END: &[u8] = b"end";
const HOLD: &[u8] = b"hold";
const ABORT: &str = "abort";

/// The most bytes of a control message.
const CONTROL_BYTES_MAX: usize = 4096;

/// The most characters of a peer's text that reach an error or a log.
const TEXT_CHARS_MAX: usize = 600;

/// What a control message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// This direction has ended.
    End,
    /// The control exchange begins.
    Hold,
    /// The peer gives up, and says why.
    Abort {
        /// The fault as the peer sees it.
        fault: Fault,
        /// The peer's words, sanitised.
        reason: String,
    },
}

impl Control {
    /// What the frame says; `None` where it says nothing that this version knows.
    pub(crate) fn read(frame: &Frame) -> Option<Control> {
        if !frame.header.is_empty() || !frame.body.is_empty() || frame.metadata.len() > CONTROL_BYTES_MAX {
            return None;
        }
        if frame.metadata == END {
            return Some(Control::End);
        }
        if frame.metadata == HOLD {
            return Some(Control::Hold);
        }
        let text = std::str::from_utf8(&frame.metadata).ok()?;
        let (fault, reason) = text.strip_prefix(ABORT)?.strip_prefix('\n')?.split_once('\n')?;
        Some(Control::Abort { fault: Fault::from_name(fault)?, reason: sanitise(reason) })
    }

    /// The frame that ends a direction.
    pub(crate) fn end() -> Frame {
        Frame::control(END)
    }

    /// The frame that begins the control exchange.
    pub(crate) fn hold() -> Frame {
        Frame::control(HOLD)
    }

    /// The frame that tells the peer why this side gives up: the error's text and nothing beyond.
    pub(crate) fn abort(error: &Error) -> Frame {
        Frame::control(format!("{ABORT}\n{}\n{}", error.fault().name(), sanitise(&error.to_string())))
    }
}

/// A peer's text, fit for logs and terminals: bounded, on one line, without control characters and without the marks that
/// reorder or hide what follows.
pub(crate) fn sanitise(text: &str) -> String {
    one_line(text, TEXT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_back_with_its_words() {
        for fault in Fault::ALL {
            let error = Error::Reported { peer: "x".to_owned(), fault, reason: "no".to_owned() };
            let Some(Control::Abort { fault: found, reason }) = Control::read(&Control::abort(&error)) else {
                panic!("{fault:?}");
            };
            assert_eq!(found, fault);
            assert_eq!(reason, error.to_string());
        }
        assert_eq!(Control::read(&Control::end()), Some(Control::End));
        assert_eq!(Control::read(&Control::hold()), Some(Control::Hold));
    }

    #[test]
    fn unknown_words_and_control_messages_with_a_body_say_nothing() {
        for text in ["", "END", "end ", "abort", "abort\npeer", "abort\nnobody\nx", "abort\nPeer\nx"] {
            assert_eq!(Control::read(&Frame::control(text.to_owned())), None, "{text:?}");
        }
        let mut frame = Control::end();
        frame.body = vec![0].into();
        assert_eq!(Control::read(&frame), None);
        assert_eq!(Control::read(&Frame::control(vec![b'a'; CONTROL_BYTES_MAX + 1])), None);
        assert_eq!(Control::read(&Frame::control(b"abort\npeer\n\xff".to_vec())), None);
    }

    #[test]
    fn a_peers_text_cannot_forge_lines_or_flood_a_log() {
        assert_eq!(sanitise("a\nb\u{1b}[31m\u{202e}c"), "a b [31m c");
        let long = sanitise(&"ä".repeat(TEXT_CHARS_MAX + 1));
        assert_eq!(long.chars().count(), TEXT_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
        assert_eq!(sanitise(&"ä".repeat(TEXT_CHARS_MAX)).chars().count(), TEXT_CHARS_MAX);
    }
}
