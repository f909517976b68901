// The empty page: how to see a first event within a minute.

import { button, make, setText } from "./dom.js";

const COPIED_MS = 2_000;

/** Fills `root` for a project that nothing has happened in yet. */
export function fillWelcome(root, project) {
  const curl = [
    `curl ${location.origin}/v1/projects/${encodeURIComponent(project)}/events \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d '{"type": "session.started", "session": "hello",`,
    `       "data": {"title": "My first session"}}'`,
  ].join("\n");
  root.replaceChildren(
    make("h2", "", "Tidings is running. Post a first event:"),
    command(curl),
    make("p", "", "It shows here the moment the server has it. Or watch a whole swarm at work:"),
    command("tidings demo"),
    make("p", "hint", "This page is connected and waits; there is no need to reload it."),
  );
}

function command(line) {
  const copy = button("action", "Copy", async () => {
    setText(copy, (await toClipboard(line, code)) ? "Copied" : "Selected");
    setTimeout(() => setText(copy, "Copy"), COPIED_MS);
  });
  copy.setAttribute("aria-live", "polite");
  const code = make("code", "", line);
  return make("div", "command", make("pre", "", code), copy);
}

/** Copies, or where that is forbidden selects, so that a keystroke copies. */
async function toClipboard(line, node) {
  try {
    await navigator.clipboard.writeText(line);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return false;
  }
}
