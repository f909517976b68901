// Everything that a client of PyGent Factory may say beside its conversation: evolution that is stopped, servers of tools, the
// page that starts services. Each is answered by a runner with what it was sent, so that what arrives there is seen here.
//
// TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LINK: as in client.mjs. It prints `done` when all is well.

import assert from "node:assert/strict";
import { link } from "./links.mjs";
import { work } from "./runner.mjs";

const { TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LINK } = process.env;
const STATUS_OF = { start: "running", stop: "stopped", restart: "running", status: "error" };
const FITNESS = { best: 1, average: 0.5, worst: 0, diversity: 0.1 };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const client = link(TIDINGS_LINK, TIDINGS_URL);
await client.until("a connection", () => client.connected === 1);
const asks = async (type, data) => {
  const at = client.heard.length;
  client.say(type, data);
  return at;
};
/** What was told for a command, without its id. */
const plain = ({ command_id, ...data }) => {
  assert.equal(typeof command_id, "string", "it says what it answers");
  return data;
};
const answer = async (answered, type, data, matches) => (await client.hears(answered, await asks(type, data), matches)).data;
await answer("pong", "ping", {});

// Nobody starts services here yet.
const nobody = await answer("error", "start_service", { service_name: "api" });
assert.match(nobody.message, /^Error processing start_service: ./);

/** What evolves, and what ends it. */
const evolutions = [];
const more = ({ answer, event, done }) => {
  const echoes = (type) => (command) => answer(command, event(type, { asked: command.type, ...command.data }), done);
  const service = echoes("startup.service.status");
  const sequence = echoes("startup.sequence.status");
  return {
    "startup.status": (command) =>
      answer(
        command,
        event("startup.progress", { progress: 40, phase: "services" }),
        event("startup.system.metrics", { cpu: 12.5 }),
        event("startup.log", { level: "info", message: "The database is there" }),
        done,
      ),
    "startup.start_service": service,
    "startup.stop_service": service,
    "startup.restart_service": service,
    "startup.start_sequence": sequence,
    "startup.stop_sequence": sequence,
    "mcp.manage": (command) => {
      const { action, server_id, ...rest } = command.data;
      return answer(command, event("mcp.server", { server_id, status: STATUS_OF[action], config: rest }), done);
    },
    async "evolution.start"(command) {
      evolutions.push(command);
      await answer(command, event("evolution.progress", { generation: 1, fitness: FITNESS, state: { population_size: command.data.population_size } }));
    },
    async "evolution.stop"(command) {
      const begun = evolutions.pop();
      assert.equal(begun.session, command.session, "who stops it reaches who began it");
      await answer(begun, event("evolution.completed", { generation: 7, fitness: FITNESS }), done);
      await answer(command, done);
    },
  };
};
const over = new AbortController();
const working = work(TIDINGS_INGEST, TIDINGS_PROJECT, `asked-${TIDINGS_LINK}`, over.signal, { more }).catch((error) => {
  if (!over.signal.aborted) throw error;
});
for (let n = 0; ; n += 1) {
  const at = await asks("request_startup_status", {});
  const told = await client.until("an answer", () => client.heard.slice(at).find(({ type }) => type === "error" || type === "startup_log"));
  if (told.type !== "error") break;
  assert.ok(n < 600, "the runner is there");
  await pause(100);
}

// The page that starts services.
let at = await asks("request_startup_status", {});
await client.hears("startup_log", at);
assert.deepEqual(client.heard.slice(at).map(({ type, data }) => ({ type, data: plain(data) })), [
  { type: "startup_progress", data: { progress: 40, phase: "services" } },
  { type: "startup_system_metrics", data: { cpu: 12.5 } },
  { type: "startup_log", data: { level: "info", message: "The database is there" } },
]);
for (const type of ["start_service", "stop_service", "restart_service"]) {
  const said = { service_name: "api", options: { port: 8080, tags: ["a"], force: true } };
  assert.deepEqual(plain(await answer("startup_service_status", type, said)), { asked: `startup.${type}`, ...said });
}
for (const type of ["start_sequence", "stop_sequence"]) {
  const said = { sequence: ["database", "api"] };
  assert.deepEqual(plain(await answer("startup_sequence_status", type, said)), { asked: `startup.${type}`, ...said });
}

// Messages that ask for nothing get nothing: not even that they are unknown.
at = await asks("select_agent", { agentType: "coding" });
await asks("subscribe_startup_events", {});
await asks("unsubscribe_startup_events", {});
await asks("ping", {});
await client.hears("pong", at);
assert.deepEqual(client.heard.slice(at).map(({ type }) => type), ["pong"]);

// Servers of tools.
for (const action of ["start", "stop", "restart", "status"]) {
  const told = await answer("mcp_server_status", "mcp_server_action", { action, server_id: "files", force: true });
  assert.deepEqual([told.server_id, told.status, told.online], ["files", STATUS_OF[action], STATUS_OF[action] === "running"], action);
  assert.deepEqual(told.config, { force: true }, "what is not named passes through");
}
for (const [data, fault] of [
  [{ action: "explode", server_id: "files" }, "action must be start, stop, restart or status"],
  [{ action: "start" }, "server_id must be a text"],
]) {
  assert.deepEqual(await answer("error", "mcp_server_action", data), { message: `Error processing mcp_server_action: ${fault}` });
}

// Evolution goes on until it is stopped.
at = await asks("start_evolution", { population_size: 20, generations: 1_000, mutation_rate: 0.1, config: { elite: 2 } });
const progress = await client.hears("evolution_progress", at);
assert.deepEqual([progress.data.state.isRunning, progress.data.state.populationSize], [true, 20]);
const { data: command } = evolutions[0];
assert.deepEqual(command, { population_size: 20, generations: 1_000, mutation_rate: 0.1, config: { elite: 2 } });
const ended = await answer("evolution_complete", "stop_evolution", {});
assert.deepEqual([ended.generation, ended.state.isRunning], [7, false]);

over.abort();
await working;
client.close();
console.log("done");
process.exit(0);
