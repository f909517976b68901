// The page's pure parts: the protocol's rules and the bounds of its memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "../../console/protocol/pace.js";
import { afterClose } from "../../console/protocol/retry.js";
import { Subscription } from "../../console/protocol/subscription.js";
import { Continuity } from "../../console/state/continuity.js";
import { Feed } from "../../console/state/feed.js";
import { Project } from "../../console/state/project.js";
import { Swarm } from "../../console/state/swarm.js";
import { cut, tail } from "../../console/state/value.js";
import { parseFilter, term } from "../../console/view/filter.js";
import { printable } from "../../console/view/printable.js";

const half = () => 0.5;

test("close codes say by their range whether to come back, and when", () => {
  const check = (code, reason, attempt, expected) => assert.deepEqual(afterClose(code, reason, attempt, half), expected);
  check(4100, `{"code":"stalled"}`, 0, { again: true, delayMs: 100, why: "stalled" });
  check(4200, `{"code":"draining","retry_after_ms":1500}`, 0, { again: true, delayMs: 1500, why: "draining" });
  check(4403, `{"code":"forbidden"}`, 0, { again: false, why: "forbidden" });
  check(1002, "", 0, { again: false, why: "closed with code 1002" });
  check(1006, "", 0, { again: true, delayMs: 300, why: "connection lost" });
  check(1012, "<html>", 3, { again: true, delayMs: 2400, why: "closed with code 1012" });
  assert.equal(afterClose(1006, "", 50, () => 1).delayMs, 15_000);
  assert.ok(afterClose(4100, "", 5, half).delayMs > 1_000, "an endless `come back now` must not become a loop");
});

const event = (position, type = "log", data = {}) => ({ op: "event", event: { type, project: "p", position, data } });
const confirm = (subscription) => {
  const { ref, ...rest } = subscription.request();
  subscription.take({ op: "subscribed", project: "p", position: "5-5.x", ref });
  return rest;
};

test("a resume starts behind the last position and wants a snapshot only after a gap", () => {
  const subscription = new Subscription("p");
  assert.deepEqual(confirm(subscription), {
    op: "subscribe",
    project: "p",
    after: "now",
    lag: "compact",
    snapshot: true,
    presence: true,
  });
  subscription.take({ op: "snapshot", project: "p", position: "5-5.x", state: {} });
  subscription.take(event("6-6.x"));
  subscription.take({ op: "events", project: "p", compacted: true, position: "7-9.x", events: [] });
  const { after, snapshot } = subscription.request();
  assert.deepEqual([after, snapshot], ["7-9.x", "after_gap"]);
});

test("who is there is counted, and moves no position", () => {
  const subscription = new Subscription("p");
  confirm(subscription);
  const project = new Project("p");
  const take = (frame) => {
    assert.ok(subscription.take(frame));
    project.take(frame, 10);
  };
  const change = (type, data) => ({ op: "event", event: { type: `presence.${type}`, project: "p", data } });
  assert.equal(project.presence.isKnown, false);
  take(event("6-6.x"));
  const viewers = [{ viewer: "alice", user: "alice" }, { viewer: "v-1" }];
  take({ op: "presence", project: "p", viewers, others: 40, runners: [{ runner: "r-1" }], stale: true });
  take(change("joined", { viewer: "v-2" }));
  take(change("left", { viewer: "alice" }));
  take(change("joined", { runner: "r-2" }));
  assert.deepEqual([project.presence.watching, project.presence.isStale], [42, true]);
  assert.deepEqual(project.presence.names, { viewers: ["v-1", "v-2"], others: 40, runners: ["r-1", "r-2"] });
  assert.equal(subscription.position, "6-6.x");
  assert.equal(project.feed.newest(Infinity, () => true).length, 1, "it is no event of the log");
});

test("what was deleted goes at once, and whatever a fresh snapshot lacks goes with it", () => {
  const swarm = new Swarm();
  const session = (title) => ({ title, status: "running" });
  swarm.load({ sessions: { a: session("A"), b: session("B"), c: session("C") }, approvals: [] });
  swarm.changed.clear();
  swarm.apply({ type: "gap", session: "a", data: { cause: "deleted" } });
  assert.deepEqual([[...swarm.sessions.keys()], [...swarm.changed]], [["b", "c"], ["a"]]);
  swarm.changed.clear();
  swarm.load({ sessions: { c: session("C") }, approvals: [] });
  assert.deepEqual([...swarm.changed].sort(), ["b", "c"], "the card of the one that is not there is taken away");
  swarm.apply({ type: "gap", data: { cause: "deleted" } });
  assert.equal(swarm.sessions.size, 0);
});

test("an answer that comes too late, or means nothing, opens its question again", () => {
  const swarm = new Swarm();
  const asked = (approval_id) => ({ type: "approval.requested", session: "s", data: { approval_id, question: "?", options: ["yes", { id: 2, label: "no" }] } });
  swarm.apply(asked("a"));
  swarm.apply(asked("b"));
  const [first, second] = swarm.approvals.values();
  assert.deepEqual(first.options, [{ label: "yes", decision: "yes" }, { label: "no", decision: 2 }]);
  swarm.answers(first.key, "c-1");
  swarm.answers(second.key, "c-2");
  swarm.approvalsChanged = false;
  const failed = (command_id) => swarm.apply({ type: "command.failed", session: "s", data: { command_id, code: "already_answered" } });
  failed("another");
  assert.deepEqual([first.answer, second.answer, swarm.approvalsChanged], ["c-1", "c-2", false]);
  failed("c-1");
  assert.deepEqual([first.answer, first.refusal, second.answer, swarm.approvalsChanged], [null, "already_answered", "c-2", true]);
});

test("cut off between a gap and its fresh snapshot, the page asks for one", () => {
  const subscription = new Subscription("p");
  confirm(subscription);
  subscription.take({ op: "snapshot", project: "p", position: "5-5.x", state: {} });
  subscription.take(event("8-8.x", "gap", { cause: "producer_dropped" }));
  assert.equal(confirm(subscription).snapshot, "after_gap", "a runner's own loss leaves state whole");
  subscription.take(event("9-9.x", "gap", { cause: "trimmed" }));
  assert.equal(subscription.request().snapshot, true);
});

test("frames of another project, or of a subscription that was replaced, are left alone", () => {
  const subscription = new Subscription("p");
  confirm(subscription);
  assert.equal(subscription.take({ op: "at", project: "other", position: "9-9.x" }), false);
  subscription.request();
  assert.equal(subscription.take(event("9-9.x")), false, "before the confirmation");
  assert.equal(subscription.position, "5-5.x");
});

test("a backlog is caught up when events are as young as they ever were", () => {
  const pace = new Pace();
  const at = (ms) => ({ received: new Date(ms).toISOString() });
  // The server's clock is an hour ahead.
  pace.hear(at(3_600_000), false, 50);
  assert.equal(pace.live, true);
  pace.restart();
  pace.hear(at(3_600_000), true, 10_000);
  assert.equal(pace.live, false);
  pace.hear(at(3_610_000), true, 10_100);
  assert.equal(pace.live, true);
});

test("what is missing is counted only where it is certain", () => {
  const continuity = new Continuity();
  continuity.miss({ position: "1-1.x", data: { cause: "trimmed", lost: 37, certain: true } });
  assert.deepEqual([continuity.missed, continuity.uncertain], [37, false]);
  continuity.miss({ position: "1-2.x", data: { cause: "failover", lost: 5, certain: false } });
  assert.deepEqual([continuity.missed, continuity.gapsTotal, continuity.uncertain], [37, 2, true]);
});

test("the feed keeps a bounded number of entries and of bytes, the newest", () => {
  const log = (n) => ({ type: "log", session: "s", position: `${n}`, data: { level: "info", message: `m${n}` } });
  const feed = new Feed();
  for (let n = 0; n < 10_000; n += 1) feed.add(log(n), 100, "");
  const kept = feed.newest(Infinity, () => true);
  assert.deepEqual([kept.length, kept[0].text, kept.at(-1).text], [2_000, "m8000", "m9999"]);
  assert.ok(feed.entries.length <= 4_001, "dropped entries are let go");
  assert.deepEqual(feed.since(9_998, 300).map((entry) => entry.text), ["m9998", "m9999"]);
  for (let n = 0; n < 100; n += 1) feed.add(log(n), 1024 * 1024, "");
  assert.equal(feed.newest(Infinity, () => true).length, 16);
});

test("pieces of a message share an entry, across the seam of history too", () => {
  const feed = new Feed();
  const delta = (text) => ({ type: "message.delta", session: "s", data: { message_id: "m", text } });
  feed.add(delta("b"), 10, "");
  feed.addBefore([delta("a")], () => "");
  feed.add(delta("c"), 10, "");
  feed.add({ type: "message.completed", session: "s", data: { message_id: "m", text: "abc" } }, 10, "");
  assert.deepEqual(feed.newest(9, () => true).map(({ text, streaming }) => [text, streaming]), [["a", false], ["abc", false]]);
});

test("history that overlaps the live stream shows every event once, whichever came first", () => {
  const project = new Project("p");
  const live = (n) => ({ op: "event", event: { type: "log", position: `${n}`, data: { message: `m${n}` } } });
  project.take(live(2), 10);
  project.remember([live(1).event, live(2).event, live(3).event]);
  project.take(live(3), 10);
  project.take(live(4), 10);
  assert.equal(project.continuity.received, 3);
  const texts = project.feed.newest(9, () => true).map((entry) => entry.text);
  assert.deepEqual(texts, ["m1", "m2", "m3", "m4"]);

  const quiet = new Project("p");
  quiet.remember([live(1).event, live(2).event]);
  quiet.take(live(2), 10);
  assert.equal(quiet.feed.added, 2, "the history was faster");
});

test("ids like `__proto__` and data of any kind are harmless to the fold", () => {
  const swarm = new Swarm();
  const kinds = [null, 1, "text", [], {}, { progress: "NaN", agents: 5, options: "x", name: {}, text: [] }];
  const types = ["session.started", "session.progress", "session.stage", "agent.started", "agent.status", "agent.finished",
    "agent.removed", "log", "output", "message.delta", "message.completed", "tool.started", "tool.completed", "usage",
    "approval.requested", "approval.resolved", "constructor", "session.completed"];
  for (const type of types) for (const data of kinds) swarm.apply({ type, session: "__proto__", agent: "constructor", data });
  swarm.load(JSON.parse(`{"sessions":{"__proto__":{"agents":{"__proto__":{"name":"x"}}},"a":null,"b":[]},"approvals":[null,3]}`));
  assert.deepEqual([...swarm.sessions.keys()], ["__proto__"]);
  assert.equal(swarm.sessions.get("__proto__").agents.get("__proto__").name, "x");
  assert.equal({}.name, undefined);
});

test("the fold forgets sessions before it grows without end", () => {
  const swarm = new Swarm();
  for (let n = 0; n < 1_000; n += 1) swarm.apply({ type: "session.started", session: `s${n}`, data: { title: "t" } });
  assert.equal(swarm.sessions.size, 300);
  assert.ok(swarm.sessions.has("s999"));
});

test("texts are cut between characters", () => {
  assert.equal(cut("ab😀cd", 3), "ab… (+4 characters)");
  assert.equal(tail("ab😀cd", 3), "cd");
  assert.equal(tail("abc", 3), "abc");
});

test("text is made printable: terminal codes go, other controls get a sign", () => {
  assert.equal(printable("plain\ttext\r\nnext"), "plain\ttext\nnext");
  assert.equal(printable("\u001b[1;31mred\u001b[0m\u0000"), "red\u2400");
  assert.equal(printable("\u001b]8;;http://x\u0007link\u001b]8;;\u0007"), "link");
  assert.equal(printable("a\u202eb\u2066c"), "a[U+202E]b[U+2066]c");
  assert.equal(printable("\ud83d \ud83d\ude00"), "\ufffd 😀");
});

test("a filter reads words, fields and quotes, and writes what it reads", () => {
  const entry = { text: "Cache is cold", who: "Ada", level: "error", event: { type: "agent.status", session: "run 7", agent: "c 1" } };
  const check = (input, expected) => assert.equal(parseFilter(input)(entry), expected, input);
  check("", true);
  check("cold ada", true);
  check("warm", false);
  check("type:agent", true);
  check("type:age", false);
  check(`session:"run 7" level:err`, true);
  check(`session:"run 8"`, false);
  check(term("agent", "c 1"), true);
});
