//! Tests of channel, driver, `local` and `flight` with a session that computes nothing.

mod codec;
mod faults;
mod flight;
mod local;
mod proxy;
mod toy;
