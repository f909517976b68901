//! The shell on the memory broker.
