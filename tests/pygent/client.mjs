// A client of PyGent Factory from its first message to its last: every message with every field, every answer, and a gateway
// that goes in the middle. The test that starts this also starts the services.
//
// TIDINGS_URL: where clients go, over all gateways. TIDINGS_INGEST: where runners post. TIDINGS_PROJECT: the dialect's.
// TIDINGS_LINK: native, websocket, polling or default (by polling, and then over a WebSocket). TIDINGS_GOLDEN: the folder of the dialect's reviewed messages.
// It prints `lose it` when the gateway that it is connected to may be killed, waits for the file TIDINGS_LOST, which says that
// this is done (TIDINGS_GOES: Killed or Drained), and prints `done` when all is well.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { link } from "./links.mjs";
import { work } from "./runner.mjs";

const { TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LINK, TIDINGS_GOLDEN, TIDINGS_LOST, TIDINGS_GOES } = process.env;
/** The reviewed messages are those of an event with this id and time. */
const ID = "01JD3Z";
const TIME = "2026-11-20T09:00:00.123Z";

const golden = async (name) => JSON.parse(await readFile(join(TIDINGS_GOLDEN, "golden/pygent/native", `${name}.json`)));

async function post(event) {
  const answer = await fetch(`${TIDINGS_INGEST}/v1/projects/${TIDINGS_PROJECT}/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(event),
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** The same with one id for another, wherever it stands. */
const renamed = (value, id, other) => JSON.parse(JSON.stringify(value).replaceAll(id, other));
/** The same with all times at one. */
const timeless = (value) => JSON.parse(JSON.stringify(value).replace(/"\d{4}-\d\d-\d\dT[\d:.]+Z"/g, '"TIME"'));

const client = link(TIDINGS_LINK, TIDINGS_URL);
await client.until("a connection", () => client.connected === 1);

// A connection is told what comes after it: it stands once its first answer is there and an event passes.
client.say("ping", { timestamp: new Date().toISOString() });
assert.deepEqual(timeless(await client.hears("pong")), { type: "pong", data: { timestamp: "TIME" } });
for (let n = 0; !client.heard.some((said) => said.type === "typing_indicator"); n += 1) {
  assert.ok(n < 600, "an event arrives");
  await post({ type: "typing", id: `warm-${TIDINGS_LINK}-${n}`, data: { user: "x", typing: false } });
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await client.until("what was posted meanwhile", () => true);

// Every message, in order, as it was reviewed.
const samples = JSON.parse(await readFile(join(TIDINGS_GOLDEN, "pygent/events.json")));
let started = client.heard.length;
await post({ type: "typing", id: `mark-${TIDINGS_LINK}`, data: { user: "mark", typing: false } });
await client.hears("typing_indicator", 0, (data) => data.user_id === "mark");
started = client.heard.findIndex((said) => said.data.user_id === "mark") + 1;
for (const [index, { type, agent, data, becomes }] of samples.entries()) {
  // What becomes of commands is said by their runners alone.
  if (type.startsWith("command.")) continue;
  const id = `e-${TIDINGS_LINK}-${index}`;
  await post({ type, id, time: TIME, session: "s1", agent, data });
  for (const name of becomes) {
    const at = started;
    await client.until(name, () => client.heard.length > at);
    assert.deepEqual(renamed(client.heard[at], id, ID), await golden(name), name);
    started += 1;
  }
}
assert.equal(client.heard.length, started, "and nothing else");
if (TIDINGS_LINK === "default") {
  await client.until("a WebSocket", () => client.socket.io.engine.transport.name === "websocket");
}

// Answers.
const answer = async (name, type, data) => {
  const at = client.heard.length;
  client.say(type, data);
  const reviewed = await golden(name);
  assert.deepEqual(timeless(await client.hears(reviewed.type, at)), timeless(reviewed), name);
};
await answer("error.unknown_type", "dance", {});
await answer("error.processing", "chat_message", {});
const at = client.heard.length;
client.say("get_system_status", {});
const status = await client.hears("system_status", at);
assert.equal(status.data.active_sessions, 1, "the one of the samples");

// Nobody is there to answer, and then somebody is.
const asks = async (type, data) => {
  const at = client.heard.length;
  client.say(type, data);
  return at;
};
const refused = await client.hears("error", await asks("chat_message", { content: "hello?" }));
assert.match(refused.data.message, /^Error processing chat_message: ./);
const unmeasured = await client.hears("system_metrics_error", await asks("request_system_metrics", {}));
assert.deepEqual(Object.keys(unmeasured.data), ["error"]);
assert.ok((await client.hears("reasoning_error", await asks("stop_reasoning", {}))).data.error);

const over = new AbortController();
const working = work(TIDINGS_INGEST, TIDINGS_PROJECT, `echo-${TIDINGS_LINK}`, over.signal).catch((error) => {
  if (!over.signal.aborted) throw error;
});
for (let n = 0; ; n += 1) {
  const at = await asks("request_system_metrics", {});
  const measured = await client.until("measures", () => client.heard.slice(at).find(({ type }) => type.startsWith("system_metrics")));
  if (measured.type === "system_metrics") break;
  assert.ok(n < 600, "the runner is there");
  await new Promise((resolve) => setTimeout(resolve, 100));
}

const CHAT = [
  "typing_indicator", "agent_activity", "reasoning_update", "reasoning_update", "reasoning_complete", "chat_response",
  "typing_indicator",
];
async function chats(shape, agent) {
  const at = await asks("chat_message", shape);
  await client.until("the end of the answer", () => client.heard.slice(at).filter(({ type }) => type === "typing_indicator").length === 2);
  const flow = client.heard.slice(at);
  assert.deepEqual(flow.map(({ type }) => type), CHAT);
  assert.deepEqual([flow[0], flow.at(-1)].map(({ data }) => data), [true, false].map((typing) => ({ user_id: "ai_agent", typing })));
  const { message } = flow[5].data;
  assert.deepEqual([message.content, message.agentId, message.type], ["You said: hi", agent, "agent"]);
}
await chats({ message: { content: "hi", agentId: "coding", timestamp: new Date().toISOString() } }, "coding");
await chats({ content: "hi", agent: "reasoning", timestamp: new Date().toISOString() }, "reasoning");
await chats({ message: "hi", agentType: "general" }, "general");
const broken = await client.hears("chat_response", await asks("chat_message", { content: "fail" }));
assert.deepEqual([broken.data.message.error, broken.data.message.content], [true, "the model is gone"]);

const thinking = await asks("start_reasoning", { problem: "why", mode: "tot_only" });
assert.equal((await client.hears("reasoning_result", thinking)).data.result, "42");
const steps = client.heard.slice(thinking).map(({ type }) => type);
assert.deepEqual(steps, ["reasoning_started", "reasoning_update", "reasoning_complete", "reasoning_result"]);
const none = await client.hears("reasoning_error", await asks("stop_reasoning", {}));
assert.equal(none.data.error, "No active reasoning session");
await client.hears("reasoning_update", await asks("start_reasoning", { problem: "endless" }));
assert.equal((await client.hears("reasoning_stopped", await asks("stop_reasoning", {}))).data.reason, "user_requested");
const evolved = await client.hears("evolution_complete", await asks("start_evolution", { population_size: 20 }));
assert.equal(evolved.data.state.isRunning, false);
const managed = await client.hears("mcp_server_status", await asks("mcp_server_action", { action: "restart", server_id: "files" }));
assert.deepEqual([managed.data.server_id, managed.data.status, managed.data.tools_count], ["files", "running", 3]);
assert.equal((await client.hears("system_metrics", await asks("request_system_metrics", {}))).data.metrics.cpu.usage_percent, 1);

// A gateway goes. What is open is told to who comes back, and everything from then on.
const open = { title: "why", mode: "reasoning", metadata: { mode: "tot_only", complexity: "complex" } };
await post({ type: "session.started", session: `r-${TIDINGS_LINK}`, data: open });
const lost = client.heard.length;
console.log("lose it");
while (!existsSync(TIDINGS_LOST)) await new Promise((resolve) => setTimeout(resolve, 20));
if (TIDINGS_LINK === "polling") {
  // Its session goes on at the other gateway, unless a poll was under way at the one that went.
  const goesOn = (said) => said.type === "typing_indicator" && said.data.user_id === "after";
  for (let n = 0; !client.heard.slice(lost).some(goesOn); n += 1) {
    assert.ok(n < 600, "it goes on");
    await post({ type: "typing", id: `after-${n}`, data: { user: "after", typing: false } });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  if (TIDINGS_GOES === "Drained") assert.equal(client.connected, 1, "its session outlived the gateway");
} else {
  const about = { session_id: `r-${TIDINGS_LINK}`, state: { isActive: true, mode: "tot_only", complexity: "complex" } };
  const told = await client.hears("reasoning_update", lost, (data) => data.session_id === about.session_id);
  assert.deepEqual(told.data, about);
  assert.equal(client.connected, 2, "it came back by itself, once");
}
if (client.reasons) assert.ok(!client.reasons.includes("io server disconnect"), client.reasons);
const back = client.heard.length;
for (let n = 0; n < 20; n += 1) {
  await post({ type: "alert", session: "s1", data: { level: "info", component: "test", message: `after ${n}` } });
}
await client.hears("system_alert", back, (data) => data.alert.message === "after 19");
const after = client.heard.slice(back).filter((said) => said.type === "system_alert").map((said) => said.data.alert.message);
assert.deepEqual(after, Array.from({ length: 20 }, (_, n) => `after ${n}`));
await post({ type: "session.completed", session: `r-${TIDINGS_LINK}`, data: {} });

await chats({ content: "hi", agent: "general" }, "general");

over.abort();
await working;
client.close();
console.log("done");
process.exit(0);
