//! Frames as Flight's messages and back.

use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::{Status, Streaming};

use crate::psi::{Error, Phase};

use super::super::channel::{Outgoing, OutgoingFrames, as_frames};
use super::super::wire::{Frame, from_status, to_status};

fn message(frame: Frame) -> FlightData {
    FlightData {
        flight_descriptor: None,
        data_header: frame.header,
        app_metadata: frame.metadata,
        data_body: frame.body,
    }
}

/// The frame of a message after the first, which alone may carry a descriptor.
fn frame(message: FlightData) -> Frame {
    match message.flight_descriptor {
        None => first_frame(message),
        // A control message that says nothing: refused by whoever reads it.
        Some(_) => Frame::control(Bytes::from_static(b"descriptor")),
    }
}

/// The frame of a request's first message, its descriptor having been read.
pub(super) fn first_frame(message: FlightData) -> Frame {
    Frame { header: message.data_header, metadata: message.app_metadata, body: message.data_body }
}

/// What a requester sends: the path goes with the first message.
pub(super) fn requests(frames: OutgoingFrames, path: Vec<String>) -> impl Stream<Item = FlightData> + Send + 'static {
    let mut descriptor = Some(FlightDescriptor::new_path(path));
    as_frames(frames).map(move |frame| FlightData { flight_descriptor: descriptor.take(), ..message(frame) })
}

/// What a responder sends: its reason to give up is the status.
pub(super) fn responses(frames: OutgoingFrames) -> BoxStream<'static, Result<FlightData, Status>> {
    frames
        .map(|outgoing| match outgoing {
            Outgoing::Frame(frame) => Ok(message(frame)),
            Outgoing::Abort(error) => Err(to_status(&error)),
            Outgoing::Dropped => Err(to_status(&Error::Environment("the session was given up".to_owned()))),
        })
        .boxed()
}

/// What the peer sends, as frames.
pub(super) fn frames(
    messages: Streaming<FlightData>,
    peer: &str,
    phase: Option<Phase>,
) -> BoxStream<'static, Result<Frame, Error>> {
    let peer = peer.to_owned();
    messages.map(move |next| next.map(frame).map_err(|status| from_status(&status, &peer, phase))).boxed()
}
