//! AgentCraft (docs/dialects.md).
