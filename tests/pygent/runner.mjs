// A runner of PyGent Factory over plain HTTP: takes commands by long-poll, and answers them in the order that docs/dialects.md
// has. Its model is an echo.

import assert from "node:assert/strict";

const CAPABILITIES = ["chat", "reasoning", "evolution", "mcp", "metrics"];

/**
 * Works until `over` is aborted. `more` gives it other answers beside its own or in their place, each by the type of its command,
 * made with what answers are made with; `token` is what it shows.
 */
export async function work(ingest, project, name, over, { more = () => ({}), token } = {}) {
  const shows = token ? { authorization: `Bearer ${token}` } : {};
  const base = `${ingest}/v1/projects/${project}`;
  /** The reasoning that goes on, by its session: the command that began it. */
  const reasoning = new Map();

  async function post(path, events) {
    const answer = await fetch(`${base}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...shows },
      body: JSON.stringify(events),
      signal: over,
    });
    assert.equal(answer.status, 200, `${path}: ${await answer.text()}`);
  }
  const answer = (command, ...events) => post(`/commands/${command.id}/events?runner=${name}&lease=${command.lease}`, events);
  const tell = (command, ...events) =>
    post(`/commands/${command.id}/events?runner=${name}&lease=${command.lease}&to=everyone`, events);
  const event = (type, data, more = {}) => ({ type, data, ...more });
  const done = event("command.completed", {});
  const failed = (command, error) => event("command.failed", { type: command.type, code: "refused", error });

  const answers = {
    async chat(command) {
      const { text, agent } = command.data;
      if (text === "fail") return answer(command, failed(command, "the model is gone"));
      const id = `m-${command.id}`;
      const thought = (step, content) =>
        event("reasoning.step", { step, total_steps: 2, content, confidence: 0.5, step_type: "analysis", agent });
      await answer(
        command,
        event("command.accepted", {}),
        event("typing", { user: "ai_agent", typing: true }),
        event("agent.status", { status: "analyzing", message: `Thinking about: ${text}` }, { agent }),
        thought(1, "It was said."),
        thought(2, "It is said again."),
        event("reasoning.completed", { result: "", confidence: 0.5, processing_time: 0.25, total_steps: 2, paths_explored: 2, agent }),
        event("message.delta", { message_id: id, text: "You" }),
      );
      const metadata = { agent, agent_type: agent, processing_time: 0.5, confidence: 0.5, reasoning_path: [] };
      const message = { message_id: id, role: "assistant", text: `You said: ${text}`, metadata };
      return answer(command, event("message.completed", message), event("typing", { user: "ai_agent", typing: false }), done);
    },
    async "reasoning.start"(command) {
      const { problem, mode } = command.data;
      reasoning.set(command.session, command);
      await tell(command, event("session.started", { title: problem, mode: "reasoning", metadata: { mode } }));
      const step = { step: 1, total_steps: 2, content: "First.", confidence: 0.5, mode };
      await answer(command, event("reasoning.started", { problem, mode }), event("reasoning.step", step));
      if (problem === "endless") return;
      reasoning.delete(command.session);
      await tell(command, event("session.completed", {}));
      const result = { result: "42", confidence: 0.9, processing_time: 1, total_steps: 1 };
      await answer(command, event("reasoning.completed", result), done);
    },
    async "reasoning.stop"(command) {
      const begun = reasoning.get(command.session);
      reasoning.delete(command.session);
      if (!begun) return answer(command, failed(command, "No active reasoning session"));
      await tell(begun, event("session.cancelled", {}));
      await answer(begun, event("reasoning.stopped", { reason: "user_requested" }), done);
      return answer(command, done);
    },
    async "evolution.start"(command) {
      const generation = { generation: 1, fitness: { best: 1, average: 0.5, worst: 0, diversity: 0.1 } };
      const state = { max_generations: 1, population_size: command.data.population_size };
      await answer(command, event("evolution.progress", { ...generation, state }), event("evolution.completed", generation), done);
    },
    "evolution.stop": (command) => answer(command, done),
    "mcp.manage": ({ data, ...command }) =>
      answer(command, event("mcp.server", { server_id: data.server_id, status: "running", tools_count: 3 }), done),
    "metrics.request": (command) =>
      answer(command, event("metrics.system", { cpu: { usage_percent: 1 }, memory: {}, network: {} }), done),
  };

  Object.assign(answers, more({ answer, tell, event, done, failed }));
  const capabilities = new Set([...CAPABILITIES, ...Object.keys(answers).map((type) => type.split(".")[0])]);
  const wanted = [...capabilities].map((capability) => `capability=${capability}`).join("&");
  while (!over.aborted) {
    const taken = await fetch(`${base}/commands?runner=${name}&wait=25&${wanted}`, { signal: over, headers: shows });
    assert.equal(taken.status, 200, await taken.clone().text());
    for (const command of (await taken.json()).commands) await answers[command.type](command);
  }
}
