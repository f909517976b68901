//! Waiting with a limit. The limits tell a hang from a slow machine; nothing is judged by how long it took.

use std::time::Duration;

/// Longer than anything here takes on a slow and busy machine.
pub const HANG: Duration = Duration::from_mins(2);

/// Pause between two looks of [`eventually`].
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits for `what`, or fails the test with its name.
///
/// # Panics
/// When it takes longer than [`HANG`].
pub async fn within<T>(name: &str, what: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(HANG, what).await else { panic!("{name}: not within {HANG:?}") };
    done
}

/// Looks again and again until there is something. Only for what gives no signal: another process's state.
///
/// # Panics
/// When there is nothing within [`HANG`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(name: &str, mut look: impl FnMut() -> F) -> T {
    within(name, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await
}
