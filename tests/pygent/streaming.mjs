// A gateway is killed while a chat answer and a piece of reasoning are on their way to its client. What goes on behind it is what
// the protocol can say:
//
// - Over Socket.IO the client says who it was (`pid`): it is told everything that it has not confirmed, so that both are whole.
// - Over the native WebSocket with a credential it is the same viewer, from where it came back: what was answered meanwhile is
//   missing, everything behind is there.
// - Without one it is somebody new, whom nobody answers. What is open it is told all the same: the reasoning's state.
//
// TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LINK, TIDINGS_LOST: as in client.mjs. TIDINGS_RUNNER: a runner's token.
// TIDINGS_VIEWER: the client's, if it has one. It prints `lose it` and, when all is well, `done`.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { link } from "./links.mjs";
import { work } from "./runner.mjs";

const { TIDINGS_URL, TIDINGS_INGEST, TIDINGS_PROJECT, TIDINGS_LINK, TIDINGS_LOST, TIDINGS_RUNNER, TIDINGS_VIEWER } = process.env;
/** Between two parts of an answer. */
const STEP_MS = 20;
/** Parts before the kill, and behind the way back. */
const PARTS = 10;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const client = link(TIDINGS_LINK, TIDINGS_URL, TIDINGS_VIEWER);
await client.until("a connection", () => client.connected === 1);

/** Set once both answers may end. */
let ends = false;
/** Parts that were posted, of each answer. */
const parts = { chat: 0, reasoning: 0 };
const more = ({ answer, tell, event, done }) => {
  async function streams(command, which) {
    while (!ends) {
      const content = `${which} ${parts[which]}`;
      await answer(command, event("reasoning.step", { step: parts[which], total_steps: 0, content, confidence: 0.5, step_type: "analysis" }));
      parts[which] += 1;
      await pause(STEP_MS);
    }
  }
  async function chat(command) {
    await answer(command, event("typing", { user: "ai_agent", typing: true }));
    await streams(command, "chat");
    const message = { message_id: `m-${command.id}`, role: "assistant", text: "the end of the answer", metadata: {} };
    await answer(command, event("message.completed", message), event("typing", { user: "ai_agent", typing: false }), done);
  }
  async function reasons(command) {
    await tell(command, event("session.started", { title: "why", mode: "reasoning", metadata: { mode: "tot_only", complexity: "complex" } }));
    await answer(command, event("reasoning.started", { problem: "why", mode: "tot_only" }));
    await streams(command, "reasoning");
    await tell(command, event("session.completed", {}));
    await answer(command, event("reasoning.completed", { result: "42", confidence: 0.9, processing_time: 1, total_steps: 1 }), done);
  }
  // Both at the same time: the next command is taken while one is under way.
  const beside = (work) => (command) => { under.push(work(command)); };
  return { chat: beside(chat), "reasoning.start": beside(reasons) };
};
const under = [];
const over = new AbortController();
const working = work(TIDINGS_INGEST, TIDINGS_PROJECT, `streams-${TIDINGS_LINK}`, over.signal, { more, token: TIDINGS_RUNNER }).catch((error) => {
  if (!over.signal.aborted) throw error;
});

/** The numbers of the parts of an answer that were told, in their order. */
const told = (which, from = 0) => {
  const steps = client.heard.slice(from).filter(({ type, data }) => type === "reasoning_update" && data.content?.startsWith(`${which} `));
  return steps.map(({ data }) => Number(data.content.split(" ")[1]));
};
const both = (holds) => holds("chat") && holds("reasoning");

for (let n = 0; ; n += 1) {
  const at = client.heard.length;
  client.say("request_system_metrics", {});
  const measured = await client.until("measures", () => client.heard.slice(at).find(({ type }) => type.startsWith("system_metrics")));
  if (measured.type === "system_metrics") break;
  assert.ok(n < 600, "the runner is there");
  await pause(100);
}
client.say("chat_message", { content: "tell me everything", agent: "coding" });
client.say("start_reasoning", { problem: "why", mode: "tot_only" });
await client.until("both stream", () => both((which) => told(which).length >= PARTS));
console.log("lose it");
while (!existsSync(TIDINGS_LOST)) await pause(20);
await client.until("it is back", () => client.connected === 2);
const back = client.heard.length;
const session = client.heard.find(({ type }) => type === "reasoning_started").data.session_id;

if (TIDINGS_LINK === "native" && !TIDINGS_VIEWER) {
  const open = await client.hears("reasoning_update", back);
  assert.deepEqual(open.data, { session_id: session, state: { isActive: true, mode: "tot_only", complexity: "complex" } });
  const then = { ...parts };
  await client.until("both go on", () => both((which) => parts[which] >= then[which] + PARTS));
  ends = true;
  await Promise.all(under);
  const mark = client.heard.length;
  client.say("chat_message", { content: "again" });
  await client.hears("typing_indicator", mark, ({ typing }) => !typing);
  const since = client.heard.slice(back).map(({ type }) => type);
  assert.deepEqual(since, ["reasoning_update", "typing_indicator", "chat_response", "typing_indicator"], "what was asked before is told nobody");
} else {
  await client.until("both go on", () => both((which) => told(which, back).length >= PARTS));
  ends = true;
  await client.hears("chat_response", back);
  await client.hears("reasoning_result", back);
  await client.hears("typing_indicator", back, ({ typing }) => !typing);
  await Promise.all(under);
  for (const which of ["chat", "reasoning"]) {
    const numbers = told(which);
    const behind = told(which, back);
    // Behind the way back nothing is missing and nothing comes twice.
    assert.deepEqual(behind, behind.map((_, n) => behind[0] + n), `${which}: ${behind}`);
    assert.equal(behind.at(-1), parts[which] - 1, which);
    if (TIDINGS_LINK === "native") {
      assert.equal(new Set(numbers).size, numbers.length, `${which}, none twice: ${numbers}`);
    } else {
      assert.equal(new Set(numbers).size, parts[which], `${which}, all of them: ${numbers}`);
    }
  }
  const since = client.heard.slice(back).map(({ type }) => type);
  const count = (type) => since.filter((one) => one === type).length;
  assert.deepEqual([count("chat_response"), count("reasoning_complete"), count("reasoning_result")], [1, 1, 1]);
  const { message } = (await client.hears("chat_response", back)).data;
  assert.deepEqual([message.content, message.error], ["the end of the answer", undefined]);
  const stateOfBefore = client.heard.slice(back).find(({ data }) => data.session_id === session && data.content === undefined && data.state);
  assert.equal(stateOfBefore?.data.state.isActive, true, "it is greeted by what is open");
}
if (client.reasons) assert.ok(!client.reasons.includes("io server disconnect"), client.reasons);

over.abort();
await working;
client.close();
console.log("done");
process.exit(0);
