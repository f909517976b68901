// A dashboard of Agent Swarm in a real browser: every message type and route with every field, a gateway that goes in the
// middle, a socket that is lost for good and comes back, and everything that is refused. The test that starts this also
// starts the services and the runner.
//
// TIDINGS_URL: where dashboards go, over all gateways. TIDINGS_INGEST: where runners post. TIDINGS_PROJECT: the project.
// TIDINGS_VIEWER, TIDINGS_STRANGER, TIDINGS_RUNNER: tokens of who may watch and command it, who may not, and who publishes.
// It prints `lose it` when the gateway that it is connected to may be killed, `runner` when one may start, and `done`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { launch } from "../harness.mjs";
import { Fields } from "../fields.mjs";
import { BODIES, MESSAGES } from "./fields.mjs";

const env = process.env;
const project = env.TIDINGS_PROJECT;
/** A bound for broken code, not a measure; longer than a client waits before it looks for a socket again. */
const PATIENCE_MS = 90_000;
const BASE = "/v1/public/agent-swarms";
const SESSION = "s-1";
/** What was told on sockets, and what was answered. */
const told = new Fields(MESSAGES);
const answered = new Fields(BODIES);

const heard = [];
let wake = () => {};

async function until(what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    const last = heard.slice(-5).map((said) => `${said.what} ${said.text}`).join("\n");
    assert.ok(Date.now() < deadline, `not within ${PATIENCE_MS} ms: ${what}\n${last}`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 500);
      wake = () => (clearTimeout(timer), resolve());
    });
  }
}

const messages = (type, from = 0) => heard.slice(from).filter((said) => said.message?.type === type).map((said) => said.message);
const hears = (type, matches = () => true, from = 0) => until(type, () => messages(type, from).find(matches));
const happens = (what, from = 0) => until(what, () => heard.slice(from).some((said) => said.what === what));

/** What stands between the browser and the gateways: it can cut sockets, and let none through while it lets polls pass. */
const cable = { sockets: new Set(), blocked: false };
const [, host, port] = /^http:\/\/([^:]+):(\d+)$/.exec(env.TIDINGS_URL);
const between = createTcpServer((near) => {
  near.once("data", (first) => {
    const upgrades = /^upgrade: websocket\r$/im.test(first.toString("latin1"));
    if (upgrades && cable.blocked) return near.destroy();
    const far = connect(Number(port), host);
    far.write(first);
    near.pipe(far).pipe(near);
    for (const [socket, other] of [[near, far], [far, near]]) {
      socket.on("error", () => {});
      socket.on("close", () => other.destroy());
    }
    if (upgrades) {
      cable.sockets.add(near);
      near.on("close", () => cable.sockets.delete(near));
    }
  });
  near.on("error", () => {});
});
await new Promise((resolve) => between.listen(0, "127.0.0.1", resolve));
const site = `http://127.0.0.1:${between.address().port}`;

async function post(...events) {
  for (;;) {
    const answer = await fetch(`${env.TIDINGS_INGEST}/v1/projects/${project}/events`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${env.TIDINGS_RUNNER}` },
      body: JSON.stringify(events),
    });
    if (answer.status === 200) return (await answer.json()).results.map((result) => result.position);
    assert.equal(answer.status, 503, await answer.text());
  }
}
const event = (type, data, agent) => ({ type, session: SESSION, ...(agent && { agent }), data });
const LEVELS = ["info", "success", "warning", "error"];
const posted = [];
/** Posts lines one after the other, and remembers them as the runner was answered. */
async function lines(count) {
  for (let i = 0; i < count; i += 1) {
    const message = `line ${posted.length}`;
    const level = LEVELS[posted.length % LEVELS.length];
    const [id] = await post(event("log", { level, message }, "architect"));
    posted.push({ id, message });
  }
}

async function ask(path, { token = env.TIDINGS_VIEWER, method = "GET", body, headers = {} } = {}) {
  const answer = await fetch(`${env.TIDINGS_URL}${path}`, {
    method,
    headers: { ...headers, ...(token && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
}
const json = (answer) => JSON.parse(answer.bytes.toString());
async function body(name, path, options, status = 200) {
  const answer = await ask(`${BASE}${path}`, options);
  assert.equal(answer.status, status, `${path}: ${answer.bytes}`);
  assert.deepEqual(answered.faults(name, json(answer)), []);
  return json(answer);
}
async function refused(path, options, status, detail) {
  const answer = await ask(path, options);
  assert.equal(answer.status, status, `${path}: ${answer.bytes}`);
  assert.deepEqual(answered.faults(status === 422 ? "invalid" : "refused", json(answer)), []);
  if (detail) assert.deepEqual(json(answer).detail, detail);
  return json(answer);
}

const page = createServer(async (request, answer) => {
  answer.setHeader("content-type", request.url === "/terminal.js" ? "text/javascript" : "text/html");
  const script = new URL("terminal.js", import.meta.url);
  answer.end(request.url === "/terminal.js" ? await readFile(script) : '<!doctype html><script src="terminal.js"></script>');
});
await new Promise((resolve) => page.listen(0, "127.0.0.1", resolve));
const browser = await launch();
async function open() {
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => { console.error(error); process.exit(1); });
  await tab.exposeFunction("heard", (what, text) => {
    heard.push({ what, text, message: what === "message" ? JSON.parse(text) : undefined });
    wake();
  });
  await tab.goto(`http://127.0.0.1:${page.address().port}/`);
  return tab;
}
const tab = await open();
const watch = (where) => tab.evaluate(([base, id, token]) => window.watchProject(base, id, token), [site, where, env.TIDINGS_VIEWER]);
const shown = () => tab.evaluate(() => ({ ...window.terminal, ws: undefined, ids: undefined }));
const showsAll = () => until("every line is shown", async () => (await shown()).lines.length >= posted.length);
/** Every line once; what it loads may come behind what it hears meanwhile. */
async function shownOnce() {
  await showsAll();
  const { lines } = await shown();
  const number = ({ message }) => Number(message.slice("line ".length));
  const inOrder = lines.map(({ id, message }) => ({ id, message })).sort((a, b) => number(a) - number(b));
  assert.deepEqual(inOrder, posted);
}

// A build begins before anybody looks.
await post(
  event("session.started", {
    title: "Todo app",
    metadata: {
      project_type: "web_app", description: "A todo list", data_model: { todo: ["title"] }, backlog: ["list"], sprint_plan: ["week 1"],
    },
  }),
  event("session.stage", { stage: "architecture_design", status: "started", message: "Choosing a stack" }),
  event("agent.status", { name: "Architect", status: "working", progress: 40, task: "Draw the modules" }, "architect"),
  event("session.progress", { progress: 18, message: "On its way" }),
);
await lines(3);
await watch(project);
await hears("project_progress");
const greeting = heard.filter((said) => said.message).map((said) => said.message.type);
const order = ["connection_established", "project_started", "workflow_stage_update", "agent_status_update", "project_progress"];
assert.deepEqual(greeting.slice(0, order.length), order);
await happens("loaded");
await lines(3);
await shownOnce();
await post(event("agent.status", { status: "working", progress: 60, task: "Draw more" }, "architect"));
await hears("agent_status_update", (message) => message.progress === 60);

// The routes, while somebody is at work.
await body("health", "/health", { token: null });
await body("projects", "/projects?limit=50");
await body("project", `/projects/${project}`);
const status = await body("status", `/projects/${project}/status`);
assert.deepEqual([status.active_agents.length, status.progress], [1, 18]);
await body("agents", `/projects/${project}/agents`);
const logs = await body("logs", `/projects/${project}/logs?limit=100`);
assert.deepEqual(logs.logs.map(({ id, message }) => ({ id, message })), posted);
await body("metrics", "/metrics");
assert.deepEqual(await body("logs", `/projects/${project}/logs?limit=100`), json(await ask(`/api${BASE}/projects/${project}/logs`)));
const bare = async (name, prefix) => ({ [name]: json(await ask(`${prefix}/projects/${project}/${name}`)) });
assert.deepEqual(answered.faults("agents", await bare("agents", "/api/v1/admin/agent-swarm")), []);
assert.deepEqual(await bare("logs", "/api/v1/admin/agent-swarms"), logs);
const first = await ask(`${BASE}/projects/${project}/logs`);
const again = await ask(`${BASE}/projects/${project}/logs`, { headers: { "if-none-match": first.headers.get("etag") } });
assert.deepEqual([again.status, again.bytes.length], [304, 0]);
for (const name of ["x-poll-interval", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]) {
  assert.match(first.headers.get(name), /^\d+$/, name);
}
await tab.evaluate(async ([url, token]) => {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  for (const name of ["etag", "x-poll-interval", "x-ratelimit-remaining"]) {
    if (answer.headers.get(name) === null) throw new Error(`the page cannot read ${name}`);
  }
}, [`${site}${BASE}/projects/${project}`, env.TIDINGS_VIEWER]);

// Its gateway goes while lines come.
let from = heard.length;
console.log("lose it");
const during = lines(60);
await happens("close", from);
await during;
await happens("loaded", from);
await shownOnce();
assert.equal((await shown()).mode, "websocket");

// No socket any more: three tries, then polls, and a socket again after a while.
from = heard.length;
cable.blocked = true;
cable.sockets.forEach((socket) => socket.destroy());
await happens("polling", from);
assert.equal(heard.slice(from).filter((said) => said.what === "close").length, 4, "it was cut, and tried three times");
await lines(5);
await shownOnce();
await post(event("agent.status", { status: "completed", task: "Done" }, "architect"));
await until("a poll tells of agents", async () => (await shown()).agents.architect.status === "completed");
assert.ok((await shown()).polls > 0);
cable.blocked = false;
const meanwhile = lines(40);
from = heard.length;
await happens("open", from);
await meanwhile;
await happens("loaded", from);
await lines(3);
await shownOnce();
assert.equal((await shown()).mode, "websocket");
assert.deepEqual(heard.filter((said) => said.what === "failed"), []);

// A build that fails, and one that is done.
from = heard.length;
await post(event("session.failed", { error: "npm install failed" }));
await hears("project_error", () => true, from);
assert.equal((await body("project", `/projects/${project}`)).error, "npm install failed");
assert.equal((await body("status", `/projects/${project}/status`)).errors.at(-1), "npm install failed");
await body("projects", "/projects");
await post(
  event("session.started", { title: "Todo app" }),
  event("session.completed", { url: "https://todo.example", completion_url: "https://todo.example/done", deployment_url: "https://deploy.example" }),
);
assert.equal((await hears("project_completed", () => true, from)).completion_url, "https://todo.example/done");
assert.equal((await body("status", `/projects/${project}/status`)).deployment_url, "https://deploy.example");
assert.equal((await body("project", `/projects/${project}`)).completion_url, "https://todo.example/done");
await body("projects", "/projects");

// Who may not.
const socket = (id, token, query = "") => `${site.replace("http", "ws")}/ws/admin/agent-swarm/${id}?token=${token}${query}`;
const tries = (url, options) => tab.evaluate(([url, options]) => window.tryOut(url, options), [url, options]);
const closes = async (url, code, options) => assert.equal((await tries(url, options)).code, code, url);
await closes(socket(project, "nonsense"), 4401);
await closes(`${site.replace("http", "ws")}/ws/admin/agent-swarm/${project}`, 4401);
await closes(socket(project, env.TIDINGS_STRANGER), 4403);
await closes(socket("another", env.TIDINGS_VIEWER), 4403);
await closes(socket("-", env.TIDINGS_VIEWER), 4403);
await closes(socket("%ff", env.TIDINGS_VIEWER), 4403);
// Where REST knows nothing there is nothing to watch either, but for a session of old.
await refused(`${BASE}/projects/${project}:typo/status`, {}, 404, "Project not found");
await closes(socket(`${project}:typo`, env.TIDINGS_VIEWER), 4404);
await refused(`${BASE}/projects/${project}`, { token: null }, 401, "Not authenticated");
await refused(`${BASE}/projects/${project}`, { token: "nonsense" }, 401, "Not authenticated");
await refused(`${BASE}/projects/${project}`, { token: env.TIDINGS_STRANGER }, 403, "Not authorized to access this project");
await refused(`${BASE}/projects/${project}:unknown`, {}, 404, "Project not found");
await refused(`${BASE}/projects/${project}/logs?limit=x`, {}, 422);
await refused(`${BASE}/projects/${project}/github`, {}, 404);

// A text `ping` is answered in kind, and several messages come in one for who asked for that. With the terminal's own these
// are all the sockets that a user may have.
assert.ok((await tries(socket(project, env.TIDINGS_VIEWER), { said: ["ping"], until: "pong" })).messages.includes("pong"));
for (const [query, protocols] of [["&batch=1", []], ["", ["agent-swarm.batch"]]]) {
  const opened = await tries(socket(project, env.TIDINGS_VIEWER, query), { protocols, until: '"batch"' });
  assert.equal(opened.protocol, protocols[0] ?? "");
  const batch = JSON.parse(opened.messages.at(-1));
  assert.ok(batch.messages.length > 1);
  for (const message of [batch, ...batch.messages]) assert.deepEqual(told.faults(message.type, message), []);
}
await tries(socket(project, env.TIDINGS_VIEWER), { until: "connection_established" });
const sixth = await tries(socket(project, env.TIDINGS_VIEWER));
assert.deepEqual([sixth.code, sixth.reason, sixth.messages], [4429, "Rate limit exceeded", []]);
await tab.evaluate(() => window.held.splice(0).forEach((ws) => ws.close()));
await until("a place is free", async () => !(await tries(socket(project, env.TIDINGS_VIEWER))).code);
await closes(socket(project, env.TIDINGS_VIEWER), 4429, { said: Array(1000).fill("x"), until: "never" });

// What was built, to take home.
const archive = await ask(`${BASE}/projects/${project}/download`);
assert.deepEqual([archive.status, archive.headers.get("content-type")], [200, "application/zip"]);
assert.equal(archive.bytes.subarray(0, 2).toString(), "PK");
assert.ok(archive.bytes.includes("line 0") && archive.bytes.includes("logs.txt"));
const csv = await ask(`${BASE}/projects/${project}/logs/export?format=csv`);
assert.ok(posted.every(({ id }) => csv.bytes.includes(id)));

// Without a runner nothing is promised; with one a build is begun, watched to its end, done again, and stopped.
const wanted = { project_type: "web_app", description: "A todo list", features: ["sync"] };
const nobody = await refused(`${BASE}/orchestrate`, { method: "POST", body: wanted }, 503);
assert.match(nobody.detail, /runner/);
await refused(`${BASE}/projects/${project}:${SESSION}/stop`, { method: "POST" }, 503);
assert.equal((await refused(`${BASE}/orchestrate`, { method: "POST", body: {} }, 422)).detail.length, 2);
console.log("runner");
const created = await until("a runner is there", async () => {
  const answer = await ask(`${BASE}/orchestrate`, { method: "POST", body: wanted });
  return answer.status === 201 && json(answer);
});
assert.deepEqual(answered.faults("orchestrate", created), []);
const build = await tries(socket(created.project_id, env.TIDINGS_VIEWER), { until: "project_completed" });
for (const message of build.messages.map((text) => JSON.parse(text))) {
  assert.deepEqual(told.faults(message.type, message), []);
  assert.equal(message.project_id, created.project_id);
}
const path = (id) => `/projects/${encodeURIComponent(id)}`;
assert.equal((await body("status", path(created.project_id) + "/status")).status, "completed");
await body("message", path(created.project_id) + "/restart", { method: "POST" });
const restarted = await until("it is built again", async () => {
  const { projects } = await body("projects", "/projects");
  return projects.find((row) => row.status === "in_progress" && row.project_id !== created.project_id);
});
await body("message", path(restarted.project_id) + "/stop", { method: "POST" });
await until("it stops", async () => (await body("status", path(restarted.project_id) + "/status")).status === "paused");

const messagesHeard = heard.filter((said) => said.message);
assert.deepEqual(messagesHeard.flatMap(({ message }) => told.faults(message.type, message)), []);
assert.deepEqual(told.unseen(), [], "fields that were never told");
assert.deepEqual(answered.unseen(), [], "fields that were never answered");
await browser.close();
page.close();
between.close();
console.log(`done: ${heard.length} heard, ${posted.length} lines`);
process.exit(0);
