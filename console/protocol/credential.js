// The credential that this page shows, where the server asks for one. Kept for this tab alone, never in the address.

const KEY = "tidings.token";
/** What fits into a header and a subprotocol: tokens and API keys have nothing else. */
const FORM = /^[A-Za-z0-9._-]+$/;

/** The credential, or null. */
export function credential() {
  return sessionStorage.getItem(KEY);
}

/** Keeps a credential from now on; returns whether it can be one. */
export function keepCredential(text) {
  const trimmed = text.trim();
  if (!FORM.test(trimmed)) return false;
  sessionStorage.setItem(KEY, trimmed);
  return true;
}
