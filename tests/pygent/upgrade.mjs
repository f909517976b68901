// Clients of Socket.IO as they come, by polling and then over a WebSocket, while events flow: each is told every event behind
// its first one, in order and once, over both transports. Then a gateway goes, and its clients come back: they are still told
// every event, the last ones perhaps again, and are still who they were. The test that starts this also starts the services.
//
// TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LOST: as in client.mjs. TIDINGS_CLIENTS: how many.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { link } from "./links.mjs";

const { TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LOST, TIDINGS_CLIENTS } = process.env;
const CAPABILITY = "chat";
const BATCH = 5;
const PAUSE_MS = 10;
/** So many events are told over WebSockets before a gateway goes. */
const AT_LEAST = 200;

const base = `${TIDINGS_INGEST}/v1/projects/${TIDINGS_PROJECT}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let posted = 0;
let over = false;
async function posts() {
  while (!over) {
    const events = Array.from({ length: BATCH }, (_, n) => ({ type: "typing", data: { user: `${posted + n}`, typing: true } }));
    const answer = await fetch(`${base}/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
    });
    assert.equal(answer.status, 200, await answer.text());
    posted += BATCH;
    await pause(PAUSE_MS);
  }
}

/** Which events a client was told, by their numbers. */
const numbers = (client) => client.heard.filter(({ type }) => type === "typing_indicator").map(({ data }) => Number(data.user_id));

/** Whom a runner takes the asker of this for: the session is his own. */
async function session(client, text) {
  client.say("chat_message", { content: text });
  for (;;) {
    const answer = await fetch(`${base}/commands?runner=r&wait=10&capability=${CAPABILITY}`);
    const { commands } = await answer.json();
    for (const { id, lease, data, session } of commands) {
      const done = await fetch(`${base}/commands/${id}/events?runner=r&lease=${lease}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify([{ type: "command.completed", data: {} }]),
      });
      assert.equal(done.status, 200, await done.text());
      if (data.text === text) return session;
    }
  }
}

// A runner is there before anybody asks it.
await fetch(`${base}/commands?runner=r&wait=0&capability=${CAPABILITY}`);
const posting = posts();
// Some go on over a WebSocket as soon as they can, and some when they have polled for a while.
const clients = Array.from({ length: Number(TIDINGS_CLIENTS) }, (_, n) => link(n % 2 ? "late" : "default", TIDINGS_URL));
for (const client of clients) {
  client.polled = 0;
  client.socket.onAny(() => {
    if (client.socket.io.engine.transport.name === "polling") client.polled += 1;
  });
}
for (const client of clients.filter((_, n) => n % 2)) {
  await client.until("events by polling", () => client.polled > AT_LEAST);
  // As the library does it where it is told so from the start.
  client.socket.io.engine._probe("websocket");
  client.socket.io.opts.upgrade = true;
}
for (const client of clients) {
  await client.until("a WebSocket", () => client.socket.io.engine.transport.name === "websocket" && !client.socket.io.engine.upgrading);
  const at = client.heard.length;
  await client.until("events", () => client.heard.length > at + AT_LEAST);
  assert.equal(client.connected, 1, "it stays connected");
  const told = numbers(client);
  assert.deepEqual(told, told.map((_, n) => told[0] + n), "all, in order, and once");
}
console.log(`told by polls: ${clients.map(({ polled }) => polled)}`);
const who = await Promise.all(clients.slice(0, 1).map((client) => session(client, "before")));
assert.match(who[0], /^chat-pygent:[0-9a-f]{32}$/);

console.log("lose it");
while (!existsSync(TIDINGS_LOST)) await pause(20);
for (const client of clients) {
  // By polling, perhaps: one whose upgrade met the gateway's end does not try again.
  await client.until("that it is there", () => client.socket.connected);
}
const last = posted + BATCH * 4;
for (const client of clients) {
  await client.until(`event ${last}`, () => numbers(client).includes(last));
}
over = true;
await posting;
let back = 0;
for (const client of clients) {
  const told = numbers(client);
  const once = [...new Set(told)];
  assert.deepEqual(once, once.map((_, n) => once[0] + n), "all, and in order");
  back += client.connected - 1;
  if (client.connected === 1) assert.equal(told.length, once.length, "once, where nothing went");
}
assert.ok(back > 0, "some came back");
console.log(`${back} came back`);
assert.equal(await session(clients[0], "after"), who[0], "it is still who it was");
clients.forEach((client) => client.close());
console.log("done");
process.exit(0);
