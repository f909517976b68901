//! The stories that the demo plays: what a small team of agents does on one task. Nothing here is random but what a
//! scene is asked to pick.

mod brief;
mod flaky;
mod login;
mod migration;
mod notes;

use super::scene::Scene;

/// A task, and how it goes.
pub(super) struct Story {
    /// The begin of its sessions' names: short, since lists show it.
    pub(super) name: &'static str,
    /// Plays it.
    pub(super) play: fn(&mut Scene<'_>),
}

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const BRIEF: Story = Story { name: "heat-brief", play: brief::play };
const FLAKY: Story = Story { name: "flaky-ci", play: flaky::play };
const LOGIN: Story = Story { name: "login-loop", play: login::play };
const MIGRATION: Story = Story { name: "migration", play: migration::play };
const NOTES: Story = Story { name: "notes", play: notes::play };

/// All of them.
pub(super) const ALL: [&Story; 5] = [&BRIEF, &FLAKY, &LOGIN, &MIGRATION, &NOTES];

/// What each stage opens with: one that goes well, one that asks, one that fails.
pub(super) const OPENING: [&Story; 3] = [&LOGIN, &MIGRATION, &FLAKY];
