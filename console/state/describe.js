// An event in words: one line for the feed, the kind it is filed under, and how loud it is. Unknown types are shown as
// they are; nothing is hidden because this page is older than the runner.

import { isObject, number, text } from "./value.js";

const LEVELS = new Map([["debug", "quiet"], ["info", "plain"], ["success", "good"], ["warning", "warn"], ["error", "bad"]]);

/** Why a gap is there, for people. */
export const CAUSES = new Map([
  ["trimmed", "older than what the server keeps"],
  ["log_reset", "the log started anew"],
  ["failover", "the store changed over"],
  ["producer_dropped", "dropped by the runner before sending"],
  ["deleted", "deleted on request"],
]);

/** `{kind, tone, text, level?}`; kind: message, tool, status, log, other; tone: quiet, plain, good, warn, bad, gap. */
export function describe(event, data) {
  const write = SENTENCES.get(event.type);
  if (write) return { kind: kindOf(event.type), tone: "plain", ...write(data, event) };
  const failed = /\.(failed|error)$/.test(event.type);
  return { kind: kindOf(event.type), tone: failed ? "bad" : "plain", text: text(isObject(event.data) ? brief(data) : event.data) };
}

/** How many are missing, as far as that is known. */
export function missing(lost, certain) {
  if (lost === null || lost === undefined) return certain ? "An unknown number of events is missing" : "Events may be missing";
  const count = lost === 1 ? "1 event" : `${lost.toLocaleString("en")} events`;
  return certain ? `${count} missed` : `Up to ${count} missed`;
}

const FAMILIES = new Map([
  ["message", "message"], ["reasoning", "message"], ["output", "message"], ["typing", "message"],
  ["tool", "tool"], ["mcp", "tool"],
  ["session", "status"], ["agent", "status"], ["approval", "status"], ["command", "status"],
  ["log", "log"], ["alert", "log"],
]);

function kindOf(type) {
  return FAMILIES.get(String(type).split(".", 1)[0]) ?? "other";
}

function joined(...parts) {
  return parts.filter((part) => part !== "").join(" · ");
}

function share(value) {
  const found = number(value);
  return found === null ? "" : `${Math.round(found)} %`;
}

function duration(value) {
  const ms = number(value);
  if (ms === null) return "";
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** The members of an unknown event's data, short. */
function brief(data) {
  return Object.entries(data).map(([name, value]) => `${name}: ${text(value, 300)}`).join(", ");
}

const SENTENCES = new Map([
  ["session.started", (data) => ({ text: joined("Started", text(data.title), text(data.mode, 80)) })],
  ["session.progress", (data) => ({ tone: "quiet", text: joined("Progress", share(data.progress), text(data.phase), text(data.message)) })],
  ["session.stage", (data) => ({
    tone: data.status === "failed" ? "bad" : "plain",
    text: joined(`Stage ${text(data.stage, 128)} ${text(data.status, 40)}`, text(data.message)),
  })],
  ["session.completed", (data) => ({ tone: "good", text: joined("Completed", text(data.summary ?? data.result)) })],
  ["session.failed", (data) => ({ tone: "bad", text: joined("Failed", text(data.error)) })],
  ["session.cancelled", (data) => ({ tone: "warn", text: joined("Cancelled", text(data.reason)) })],
  ["session.lost", (data) => ({ tone: "warn", text: joined("The runner is gone", text(data.runner)) })],
  ["agent.started", (data) => ({ text: joined("Joined", text(data.role)) })],
  ["agent.status", (data) => ({
    tone: data.status === "failed" ? "bad" : "quiet",
    text: joined(capital(text(data.status, 40)), share(data.progress), text(data.message ?? data.task)),
  })],
  ["agent.finished", (data) => ({
    tone: /^(failed|failure|error)$/.test(data.outcome) ? "bad" : "good",
    text: joined("Finished", text(data.outcome), text(data.summary)),
  })],
  ["agent.removed", (data) => ({ text: joined("Left", text(data.reason)) })],
  ["agent.collaboration", (data) => ({
    text: joined(`${capital(text(data.kind, 40))}: ${text(data.primary, 128)} → ${text(data.secondary, 128)}`, text(data.reason)),
  })],
  ["log", (data) => ({
    tone: LEVELS.get(data.level) ?? "plain",
    level: text(data.level, 40),
    text: [text(data.emoji, 8), text(data.message, 4_000)].filter(Boolean).join(" "),
  })],
  ["alert", (data) => ({
    tone: data.resolved ? "good" : (LEVELS.get(data.level) ?? "warn"),
    level: text(data.level, 40),
    text: joined(data.resolved ? "Resolved" : "Alert", text(data.component), text(data.message)),
  })],
  ["output", (data) => ({ text: joined(text(data.kind, 128), text(data.content, 4_000)) })],
  ["message.delta", (data) => ({ text: text(data.text) })],
  ["message.completed", (data) => ({ text: text(data.text, 4_000) })],
  ["reasoning.started", (data) => ({ text: joined("Reasoning", text(data.problem)) })],
  ["reasoning.step", (data) => ({ tone: "quiet", text: joined(`Step ${text(data.step)} of ${text(data.total_steps)}`, text(data.content)) })],
  ["reasoning.completed", (data) => ({ tone: "good", text: joined("Concluded", text(data.result)) })],
  ["tool.started", (data) => ({ text: joined(`${text(data.name, 128)} …`, text(data.input, 600)) })],
  ["tool.completed", (data) => ({ tone: "good", text: joined(text(data.name, 128), duration(data.duration_ms), text(data.output, 600)) })],
  ["tool.failed", (data) => ({ tone: "bad", text: joined(`${text(data.name, 128)} failed`, text(data.error)) })],
  ["usage", (data) => ({
    tone: "quiet",
    text: joined(text(data.model, 128), `${number(data.input_tokens) ?? 0} tokens in`, `${number(data.output_tokens) ?? 0} out`),
  })],
  ["approval.requested", (data) => ({ tone: "warn", text: joined("Asks", text(data.question)) })],
  ["approval.resolved", (data) => ({ tone: "good", text: joined(`Answered: ${text(data.decision)}`, data.by ? `by ${text(data.by, 128)}` : "") })],
  ["gap", (data) => ({
    kind: "gap",
    tone: "gap",
    text: `${missing(Number.isSafeInteger(data.lost) ? data.lost : null, data.certain === true)}: ${CAUSES.get(data.cause) ?? text(data.cause)}`,
  })],
]);

function capital(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
