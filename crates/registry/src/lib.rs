//! Keys, members and settings of projects, as the services read them.
//!
//! [`stores`] gives the authenticator its keys and members; [`SettingsReader`] gives a project's settings, with its
//! redactor ready. Both read the broker's [`Registry`](tidings_broker::registry::Registry) through caches of two seconds,
//! so that a change or a revocation takes effect within that time on every service. Writing is the admin routes' matter.

mod declared;
mod redactors;
mod rights;
mod settings;

pub use rights::stores;
pub use settings::{Effective, SETTINGS_FRESH, SettingsReader};
