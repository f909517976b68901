//! Whether a reader has come to the end of what there is: answers that end ask this, streams never do.

use tidings_log::viewer::Viewer;

/// Whether a viewer that has nothing to tell stands at its topic's position, so that only new events would give it
/// something. False: what follows is on its way, or the store is away.
pub(super) fn is_reached(viewer: &Viewer) -> bool {
    !viewer.is_catching_up() && viewer.at().n() >= viewer.topic().view().position().n()
}
