//! AgentCraft's messages: one golden file for each type, the tables of fields and JSON types, and what its clients say.

mod client_ids;
mod edges;
mod fields;
mod golden;
mod says;
mod stage;
mod told;
