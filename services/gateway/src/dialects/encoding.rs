//! A dialect's messages as an encoding: made once for an event, and shared by all connections that speak it in one variant.

use std::sync::Arc;

use tidings_dialects::{Dialect, Told};
use tidings_log::encoding::{Due, Encoding, Slot};
use tidings_log::snapshot::Snapshot;
use tidings_protocol::compact::CompactItem;
use tidings_protocol::frames::Marks;
use tidings_protocol::gap::Gap;
use tidings_protocol::intake::envelope_value;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_ws::frame::{self, Opcode};

use super::asked;

/// One variant of a dialect.
pub(crate) struct InDialect {
    /// The mapping.
    pub dialect: Arc<dyn Dialect>,
    /// What its frames are kept under.
    pub(super) number: u16,
    /// Its messages travel as one where several go out together.
    pub bundles: bool,
}

impl InDialect {
    /// The dialect under a number that no other variant of any dialect has in this process.
    pub(super) fn new(dialect: Arc<dyn Dialect>, number: u16) -> InDialect {
        let bundles = dialect.bundle(&["{}", "{}"]).is_some();
        InDialect { dialect, number, bundles }
    }
}

impl Encoding for InDialect {
    fn slot(&self) -> Slot {
        Slot::Dialect(self.number)
    }

    fn event(&self, project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
        self.tell(project, position, event, marks, out);
    }

    /// Marks are not told: other systems know of no failover.
    fn tell(
        &self,
        project: &Project,
        position: Position,
        event: &wire::Event,
        _marks: Marks<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Due> {
        // What ingest has let in can be read; what cannot is nothing to anybody.
        let envelope = envelope_value(&event.json)?;
        let told = Told { project, position, event, envelope: &envelope };
        let mut texts = Vec::new();
        self.dialect.event(&told, &mut texts);
        for text in &texts {
            frame::write(out, Opcode::Text, text.as_bytes());
        }
        self.dialect.due(&told).map(|ask| asked::word(&ask))
    }

    // Connections of dialects attend to the rest themselves, and ask for no compaction.
    fn gap(&self, _project: &Project, _gap: &Gap, _out: &mut Vec<u8>) {}

    fn snapshot(&self, _project: &Project, _snapshot: &Snapshot, _out: &mut Vec<u8>) {}

    fn compacted(&self, _project: &Project, _position: Position, _events: &[CompactItem<'_>], _out: &mut Vec<u8>) {}

    fn at(&self, _project: &Project, _position: Position, _out: &mut Vec<u8>) {}
}
