//! Messages of Flight's session actions, which the ready-made bindings lack (Flight.proto, "Session").

use std::collections::HashMap;

/// A value of a session's option.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub(super) option_value: Option<OptionValue>,
}

/// Its type.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum OptionValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(sfixed64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Number(f64),
    #[prost(message, tag = "5")]
    Texts(StringListValue),
}

/// Several texts.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    pub(super) values: Vec<String>,
}

/// `SetSessionOptions`: a value to set, none to reset.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

/// The options that could not be set.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) errors: HashMap<String, OptionError>,
}

/// Why one could not.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OptionError {
    /// 1: no such option; 2: no value for it; 3: something else.
    #[prost(int32, tag = "1")]
    pub(super) value: i32,
}

/// There is no such option.
pub(super) const INVALID_NAME: i32 = 1;
/// It takes no such value.
pub(super) const INVALID_VALUE: i32 = 2;

/// What `GetSessionOptions` answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

/// What `CloseSession` answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseSessionResult {
    /// 1: it is closed.
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// The session is closed.
pub(super) const CLOSED: i32 = 1;

impl SessionOptionValue {
    /// A text.
    pub(super) fn text(text: &str) -> SessionOptionValue {
        SessionOptionValue { option_value: Some(OptionValue::Text(text.to_owned())) }
    }

    /// The value as `SET` takes it; `None` for "no value", which resets.
    pub(super) fn as_text(&self) -> Option<String> {
        Some(match self.option_value.as_ref()? {
            OptionValue::Text(text) => text.clone(),
            OptionValue::Truth(truth) => truth.to_string(),
            OptionValue::Whole(whole) => whole.to_string(),
            OptionValue::Number(number) => number.to_string(),
            OptionValue::Texts(texts) => texts.values.join(","),
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn an_options_value_has_the_bytes_that_the_format_gives_it() {
        let value = |value| SessionOptionValue { option_value: Some(value) }.encode_to_vec();
        assert_eq!(value(OptionValue::Text("ab".to_owned())), [0x0a, 2, b'a', b'b']);
        assert_eq!(value(OptionValue::Truth(true)), [0x10, 1]);
        assert_eq!(value(OptionValue::Whole(1)), [0x19, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(value(OptionValue::Number(1.0)), [0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        let texts = StringListValue { values: vec!["a".to_owned()] };
        assert_eq!(value(OptionValue::Texts(texts)), [0x2a, 3, 0x0a, 1, b'a']);
        let set =
            SetSessionOptionsRequest { session_options: [("k".to_owned(), SessionOptionValue::text("v"))].into() };
        assert_eq!(set.encode_to_vec(), [0x0a, 8, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, b'v']);
        assert_eq!(CloseSessionResult { status: CLOSED }.encode_to_vec(), [8, 1]);
    }
}
