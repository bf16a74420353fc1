//! What *happens*.
pub mod digest;
pub mod outbox;
pub mod ports;
