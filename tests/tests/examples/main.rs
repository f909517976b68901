//! The examples as they stand, and Claude Code's hooks, against real services on a real Redis: what docs/claude-code.md and
//! examples/README.md say of them is what happens.

mod agent_swarm;
mod agentcraft;
mod claude_code;
mod dashboard;
mod folder;
mod ollama;
mod pygent;
mod retries;
