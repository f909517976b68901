// One session's card: what it is about, how far it is, what its agents do.

import { AgentsView } from "./agents.js";
import { button, make, makeBar, makeIcon, setBar, setChildren, setData, setHidden, setIcon, setLine, setText, setTitle } from "./dom.js";
import { familyOf, ICONS } from "./icons.js";
import { makeTime, setTime } from "./time.js";
import { text } from "../state/value.js";

let cards = 0;

export class SessionCard {
  #icon = makeIcon(ICONS.idle);
  #title = make("bdi", "session-title");
  #status = make("span", "chip");
  #elapsed = makeTime("elapsed");
  #phase = make("span", "phase");
  #usage = make("span", "usage");
  #agentCount = make("span");
  #id = make("code", "session-id");
  #bar = makeBar("Progress of the session");
  #percent = make("span", "percent");
  #message = make("p", "session-message");
  #stages = make("ol", "stages");
  #progress = make("div", "session-progress", this.#bar, this.#percent);
  #outcome = make("p", "outcome");
  #tools = make("p", "tools");
  #outputs = make("details", "outputs", make("summary"), make("div"));
  #session = null;

  constructor(session, { isOpen, onPick }) {
    cards += 1;
    this.agents = new AgentsView((agent) => onPick({ session: this.#session.id, agent }));
    this.body = make("div", "session-body", this.#message, this.#stages, this.agents.node, this.#tools, this.#outputs);
    this.body.id = `session-${cards}`;
    this.toggle = button("disclose", "", () => this.open(this.body.hidden));
    this.toggle.append(makeIcon(ICONS.chevron));
    this.toggle.setAttribute("aria-controls", this.body.id);
    this.toggle.setAttribute("aria-label", "Details of the session");
    const pick = button("pick", "", () => onPick({ session: this.#session.id }));
    pick.title = "Show only this session's activity";
    pick.append(this.#title);
    this.#message.dir = this.#outcome.dir = "auto";
    this.#stages.setAttribute("aria-label", "Stages");
    const chip = make("span", "status", this.#icon, this.#status);
    const head = make("header", "session-head", this.toggle, make("h2", "", pick), chip);
    const meta = make("p", "meta", this.#elapsed, this.#phase, this.#agentCount, this.#usage, this.#id);
    this.node = make("article", "session", head, meta, this.#progress, this.#outcome, this.body);
    this.open(isOpen);
  }

  open(isOpen) {
    this.body.hidden = !isOpen;
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    this.node.dataset.open = String(isOpen);
  }

  show(session) {
    const isOther = this.#session !== session;
    this.#session = session;
    setData(this.node, "family", familyOf(session.status));
    setText(this.#title, session.label);
    setIcon(this.#icon, ICONS[familyOf(session.status)]);
    setText(this.#status, session.status);
    setTime(this.#elapsed, session.startedMs, session.hasEnded ? session.endedMs : null);
    setLine(this.#phase, session.hasEnded ? "" : [session.phase, session.stage].filter((part, at, all) => part && all.indexOf(part) === at).join(" / "));
    setLine(this.#agentCount, session.agents.size === 0 ? "" : session.agents.size === 1 ? "1 agent" : `${session.agents.size} agents`);
    setLine(this.#usage, usageText(session.usage));
    setTitle(this.#usage, `${session.usage.input_tokens.toLocaleString("en")} tokens in, ${session.usage.output_tokens.toLocaleString("en")} out`);
    setText(this.#id, session.id);
    setHidden(this.#id, session.title === "");
    const progress = session.status === "completed" ? 100 : session.progress;
    setHidden(this.#progress, progress === null);
    setBar(this.#bar, progress);
    setLine(this.#percent, progress === null ? "" : `${Math.round(progress)} %`);
    setLine(this.#message, session.hasEnded ? "" : session.message);
    setLine(this.#outcome, outcomeText(session));
    this.#showStages(session);
    setLine(this.#tools, toolsText(session));
    this.#showOutputs(session);
    this.agents.show(session, isOther);
    session.touched.clear();
  }

  #showStages({ stages }) {
    setHidden(this.#stages, stages.size === 0);
    const nodes = [...this.#stages.children];
    setChildren(this.#stages, [...stages].map(([name, status], at) => {
      const node = nodes[at] ?? make("li", "", makeIcon(ICONS.idle), make("bdi"));
      const family = status === "started" ? "active" : familyOf(status);
      setData(node, "family", family);
      setIcon(node.firstChild, ICONS[family]);
      setText(node.lastChild, name);
      setTitle(node, `${name}: ${status}`);
      return node;
    }));
  }

  #showOutputs({ outputs }) {
    setHidden(this.#outputs, outputs.length === 0);
    setText(this.#outputs.firstChild, outputs.length === 1 ? "1 output" : `${outputs.length} outputs`);
    const list = this.#outputs.lastChild;
    if (list.childElementCount === outputs.length && list.dataset.newest === text(outputs.at(-1)?.content, 64)) return;
    list.dataset.newest = text(outputs.at(-1)?.content, 64);
    list.replaceChildren(...outputs.map((output) => {
      const content = make("pre", "", text(output.content, 8_000));
      content.dir = "auto";
      return make("figure", "", make("figcaption", "", text(output.kind, 128) || "output"), content);
    }));
  }
}

function usageText({ input_tokens: input, output_tokens: output, cost_micro_usd: cost }) {
  if (input + output === 0) return "";
  const tokens = `${compact(input + output)} tokens`;
  return cost > 0 ? `${tokens} · $${(cost / 1e6).toFixed(cost < 1e6 ? 3 : 2)}` : tokens;
}

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

function compact(count) {
  return COMPACT.format(count);
}

function outcomeText({ status, outcome, hasEnded }) {
  if (status === "lost") return "The runner of this session went silent.";
  if (!hasEnded || !outcome) return "";
  return text(outcome.error ?? outcome.reason ?? outcome.summary ?? outcome.result ?? outcome.url);
}

function toolsText({ tools }) {
  return [...tools].slice(0, 12).map(([name, { calls, failures, totalMs }]) => {
    const ended = totalMs > 0 && calls > 0 ? `, ${Math.round(totalMs / calls)} ms each` : "";
    return `${name} ×${calls}${failures ? ` (${failures} failed)` : ""}${ended}`;
  }).join("  ·  ");
}
