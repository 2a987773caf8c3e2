//! Both halves of the room against each other: SQL at one party, policy and files at the other.

mod ahead;
mod answers;
mod apart;
mod external;
mod frames;
mod groups;
mod kit;
mod planning;
mod refusals;
mod responder;
mod spilled;
mod types;
mod waiting;
