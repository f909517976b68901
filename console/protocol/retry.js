// When to come back after a close: the ranges of the protocol's close codes, and a jittered backoff for everything else.
// Pure: the caller owns clock and timer.

const BACKOFF_FIRST_MS = 400;
const BACKOFF_MAX_MS = 15_000;
// A server that says "come back now" over and over is treated like one that is away.
const PATIENCE_ATTEMPTS = 3;

// Faults of framing: the same client would only be closed again.
const FATAL = new Set([1002, 1007, 1009]);

/**
 * Decides what follows a close. `attempt` counts connections in a row that did not last (0: the last one did).
 * Returns `{again: false, why}` or `{again: true, delayMs, why}`.
 */
export function afterClose(code, reason, attempt, random = Math.random) {
  const { code: word, retry_after_ms: retryAfterMs } = readReason(reason);
  const why = word ?? (code === 1006 || code === 1005 ? "connection lost" : `closed with code ${code}`);
  if (FATAL.has(code) || (code >= 4400 && code < 4500)) return { again: false, why };
  if (code >= 4200 && code < 4300 && Number.isFinite(retryAfterMs)) {
    return { again: true, delayMs: Math.min(Math.max(retryAfterMs, 0), 60_000), why };
  }
  if (code >= 4100 && code < 4200 && attempt < PATIENCE_ATTEMPTS) return { again: true, delayMs: random() * 200, why };
  const ceilingMs = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10), BACKOFF_MAX_MS);
  return { again: true, delayMs: ceilingMs * (0.5 + random() / 2), why };
}

/** A close reason is JSON when it comes from the server, and anything at all when it comes from something in between. */
function readReason(reason) {
  try {
    const parsed = JSON.parse(reason);
    return parsed !== null && typeof parsed === "object" ? parsed : {};
  } catch {
    return {};
  }
}
