//! Agent Swarm's messages and bodies: golden files, byte for byte, and the JSON types that its tables name.

mod edges;
mod messages;
mod properties;
mod rest;
mod story;
mod wire_types;
