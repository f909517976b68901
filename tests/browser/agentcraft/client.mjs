// A front end of AgentCraft in a real browser, from its first message to its last: every message type with every field, and
// a gateway that goes in the middle. The test that starts this also starts the services.
//
// TIDINGS_URL: where front ends go, over all gateways. TIDINGS_INGEST: where runners post. TIDINGS_PROJECT: the dialect's.
// TIDINGS_FRAMES: the shape of messages that the gateways tell: flat, nested or both.
// It prints `lose it` when the gateway that it is connected to may be killed, and `done` when all is well.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { launch } from "../harness.mjs";
import { Fields } from "../fields.mjs";
import { fieldsOf } from "./fields.mjs";

const { TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_FRAMES } = process.env;
const isFlat = TIDINGS_FRAMES !== "nested";
const isNested = TIDINGS_FRAMES !== "flat";
/** A bound for broken code, not a measure; longer than the server's silence before a ping. */
const PATIENCE_MS = 60_000;
/** Statuses that are posted around the kill, and the pause between them. */
const STEPS = 120;
const STEP_MS = 50;
/** After a kill a client may be told again what it was told in the last second, or while that was being written down; how the
 * agent stands comes on top. */
const REPEATED_MAX = 2_000 / STEP_MS + 1;

const heard = [];
let wake = () => {};

async function until(what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = holds();
    if (found) return found;
    assert.ok(Date.now() < deadline, `not within ${PATIENCE_MS} ms: ${what}\n${heard.slice(-5).map((said) => said.text).join("\n")}`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000);
      wake = () => (clearTimeout(timer), resolve());
    });
  }
}

const messages = (type) => heard.filter((said) => said.message?.type === type).map((said) => said.message);
const hears = (type, matches = () => true) => until(type, () => messages(type).find(matches));
/** What was said of an agent, in the shape's own message for it. */
const said = (message) => (isFlat ? message.message : message.data.details);
const statuses = () => messages(isFlat ? "agent_status" : "agent_status_update");
const hearsStatus = (text) => until(text, () => statuses().find((message) => said(message) === text));

const session = "session_abc123";
async function post(...events) {
  const answer = await fetch(`${TIDINGS_INGEST}/v1/projects/${TIDINGS_PROJECT}/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(events),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
}
const event = (type, data, agent, of = session) => ({ type, session: of, ...(agent && { agent }), data });
const working = (step, agent = "agent-tech") =>
  event("agent.status", {
    name: "Technical Integration Specialist", status: "processing", progress: Math.min(100, step), message: `step ${step}`,
    task: "Analyzing webhooks", task_id: "task-7", estimated_completion: 30, details: { tool: "search" },
  }, agent);
/** A crew in which everything is said that a message may tell: one agent at work, one that is done, and what they found. */
const crew = (of) => [
  event("session.started", { title: "How do I fix webhook errors?" }, undefined, of),
  event("agent.started", { name: "Technical Integration Specialist" }, "agent-tech", of),
  event("agent.started", { name: "Security Specialist" }, "agent-guard", of),
  event("agent.started", { name: "Billing Specialist", role: "Looks at invoices" }, "agent-bill", of),
  event("session.progress", { progress: 10, phase: "processing" }, undefined, of),
  { ...working(0), session: of },
  { ...working(0, "agent-bill"), session: of },
  event("agent.finished", { outcome: "success", summary: "Nothing is owed" }, "agent-bill", of),
  event("output", { content: "The signature is computed twice.", kind: "finding" }, "agent-tech", of),
];

async function rest(path, options) {
  const answer = await fetch(`${TIDINGS_URL}${path}`, options);
  assert.equal(answer.status, 200, path);
  return answer.json();
}

const page = createServer(async (request, answer) => {
  answer.setHeader("content-type", request.url === "/hook.js" ? "text/javascript" : "text/html");
  const hook = new URL("hook.js", import.meta.url);
  answer.end(request.url === "/hook.js" ? await readFile(hook) : '<!doctype html><script src="hook.js"></script>');
});
await new Promise((resolve) => page.listen(0, "127.0.0.1", resolve));
const browser = await launch();
const tab = await browser.newPage();
tab.on("pageerror", (error) => { console.error(error); process.exit(1); });
await tab.exposeFunction("heard", (what, text) => {
  heard.push({ what, text, message: what === "message" ? JSON.parse(text) : undefined });
  wake();
});
await tab.goto(`http://127.0.0.1:${page.address().port}/`);
const clientId = `client_${Date.now()}_k3f9a7c2m`;
await tab.evaluate(([base, id]) => { window.startTracking(base, id); }, [TIDINGS_URL.replace("http", "ws"), clientId]);
const say = (message) => tab.evaluate((said) => window.tracking.send(said), message);

// A crew begins; the client asks.
await hears("active_sessions");
await post(
  ...crew(session),
  event("log", { level: "info", message: "Starting webhook analysis", source: "crewai" }, "agent-tech"),
  event("agent.collaboration", {
    primary: "Technical Integration Specialist", secondary: "Security Specialist", kind: "handoff",
    reason: "Requires security expertise",
  }),
);
if (isFlat) await hears("agent_collaboration");
await hears("active_sessions", (message) => message.data.sessions[0]?.agents_active === 1);
await say({ type: "get_session_state", session_id: session });
await hears("session_state", (message) => message.state.crew_output.length === 1);
await say({ type: "get_session_logs", session_id: session });
assert.equal((await hears("session_logs")).logs[0].agent, "Technical Integration Specialist");
await say({ type: "get_session_state", session_id: "nobody" });
await hears("session_not_found", (message) => message.session_id === "nobody");
await say({ type: "ping" });
await say({ type: "get_session_state" });

// Log streaming, for who asked for it and while it is asked for.
const seen = (message) => event("agent.status", { name: "Security Specialist", status: "idle", progress: 0, message }, "agent-guard");
await post(event("log", { level: "info", message: "before", source: "crewai" }), seen("before"));
await hearsStatus("before");
await say({ type: "start_log_streaming", session_id: session });
assert.equal((await hears("log_streaming_started")).session_id, session);
const details = { logger: "crewai.agent", module: "agent", function: "execute_task", line: 42, task: "Analyzing webhooks" };
await post(event("log", { level: "warning", message: "Agent is thinking", details }, "agent-tech"));
await hears("crewai_log", (message) => message.log.raw_message === "Agent is thinking");
await say({ type: "stop_log_streaming" });
await hears("log_streaming_stopped");
await post(event("log", { level: "info", message: "after" }), seen("after"), working(1));
await hearsStatus("after");
await say({ type: "get_session_logs", session_id: session });
await hears("session_logs", (message) => message.logs.length === 4);
assert.deepEqual(messages("crewai_log").map((message) => message.log.raw_message), ["Agent is thinking"]);

// Its REST routes, on whichever gateway.
const stats = await rest("/api/ws/stats");
assert.equal(stats.success, true);
assert.equal(stats.stats.active_connections, 1, JSON.stringify(stats));
assert.equal(stats.stats.connections[0].client_id, clientId);
assert.equal(typeof stats.stats.connections[0].connected_at, "number");
assert.equal(typeof stats.stats.connections[0].message_count, "number");
assert.equal(stats.stats.total_messages_sent, stats.stats.connections[0].message_count);
assert.equal(stats.realtime_sessions.total_sessions, 1);
assert.equal((await rest(`/api/ws/sessions/${session}/state`)).state.query, "How do I fix webhook errors?");
const logs = await rest(`/api/ws/sessions/${session}/logs`);
assert.deepEqual([logs.success, logs.total_logs, logs.logs.length], [true, 4, 4]);
assert.deepEqual(await rest("/api/ws/sessions/nobody/state"), { success: false, error: "Session not found", session_id: "nobody" });
assert.equal((await rest("/api/efficiency/health-check")).overall_status, "healthy");
const broadcast = { method: "POST", headers: { "content-type": "application/json" }, body: '{"type":"ping","timestamp":1.5,"all":true}' };
assert.deepEqual(await rest("/api/ws/broadcast", broadcast), { success: true, message: "Broadcast sent" });
await hears("ping", (message) => message.all);

// Its gateway goes while an agent works.
await hears("ping", (message) => !message.all);
console.log("lose it");
for (let step = 2; step < STEPS; step += 1) {
  await post(working(step));
  await new Promise((resolve) => setTimeout(resolve, STEP_MS));
}
await until("the connection is lost and comes back", () => heard.findLast((said) => said.what !== "message")?.what === "open" && heard.some((said) => said.what === "close"));
await hearsStatus(`step ${STEPS - 1}`);
const steps = statuses().map(said).filter((text) => text?.startsWith("step ")).map((text) => Number(text.slice(5)));
// Behind a kill it may be told the last moments again, and how the agent stands: there, and nowhere else, it goes back.
const isNext = (step, before) => (isFlat ? step === before || step === before + 1 : step >= before);
const jumps = steps.filter((step, index) => index > 0 && !isNext(step, steps[index - 1]));
assert.ok(jumps.length <= 1, `${jumps.length} jumps: ${steps}`);
// Messages with the session's state are about the present: what passed between two of them is in neither.
const all = isFlat ? [...Array(STEPS).keys()] : [0, 1, STEPS - 1];
assert.deepEqual(all.filter((step) => !steps.includes(step)), [], "a status is missing");
const repeated = isFlat ? steps.length - STEPS : 0;
assert.ok(repeated <= REPEATED_MAX, `${repeated} were told again`);

// The ends.
await post(...crew("session_2"));
await hears("active_sessions", (message) => message.data.total_sessions === 2);
await post(event("session.failed", { error: "no tokens" }, undefined, "session_2"));
await until("one session is left", () => messages("active_sessions").at(-1).data.total_sessions === 1);
if (isNested) assert.equal((await hears("session_error")).data.error, "no tokens");
await post(event("agent.finished", { outcome: "success" }, "agent-tech"), event("session.completed", { result: "Rotate the secret." }));
if (isNested) assert.equal((await hears("session_completed")).data.result, "Rotate the secret.");
await until("no session is left", () => messages("active_sessions").at(-1).data.total_sessions === 0);
const shown = await tab.evaluate(() => ({ ...window.tracking, ws: undefined }));
assert.equal(shown.agentStatuses["agent-tech"]?.status, isFlat ? "COMPLETED" : undefined);
assert.deepEqual(shown.activeSessions, []);
assert.equal(shown.collaborations.length, isFlat ? 1 : 0);
assert.equal(shown.connects, 2);

const fields = new Fields(fieldsOf(TIDINGS_FRAMES));
assert.deepEqual(heard.filter((said) => said.message).flatMap(({ message }) => fields.faults(message.type, message)), []);
assert.deepEqual(fields.unseen(), [], "fields that were never told");
await browser.close();
page.close();
console.log(`done: ${heard.length} heard, ${repeated} told again`);
