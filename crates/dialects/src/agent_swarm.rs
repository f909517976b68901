//! Agent Swarm (docs/dialects.md).
