//! The HTTP faces: events as a stream, a poll, or history; snapshots, sessions, projects, exports; the page.

mod accept;
pub(crate) mod events;
pub(crate) mod export;
mod head;
pub(crate) mod heads;
mod history;
pub(crate) mod names;
pub(crate) mod page;
pub(crate) mod params;
mod poll;
pub(crate) mod projects;
mod sse;
pub(crate) mod state;
pub(crate) mod summaries;
