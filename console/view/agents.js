// The agents of a session as a tree: sub-agents stand below the one that started them. Only rows of agents that were
// touched are written; the tree is laid out anew only when one came, went or moved.

import { button, make, makeBar, makeIcon, setBar, setChildren, setData, setHidden, setIcon, setLine, setText, setTitle } from "./dom.js";
import { familyOf, ICONS } from "./icons.js";
import { makeTime, setTime } from "./time.js";

const SHOWN_STEP = 50;
const DEPTH_MAX = 6;
const TOOLS_MAX = 4;

export class AgentsView {
  #rows = new Map();
  #layout = "";
  #shownMax = SHOWN_STEP;
  #list = make("ul", "agents");
  #session = null;
  #more = button("action more", "", () => {
    this.#shownMax *= 4;
    this.show(this.#session, true);
  });

  constructor(onPick) {
    this.onPick = onPick;
    this.node = make("div", "agents-frame", this.#list, this.#more);
    this.#list.setAttribute("aria-label", "Agents");
  }

  show(session, isOther) {
    this.#session = session;
    const isLaidOut = !isOther && this.#layout === layoutOf(session);
    if (!isLaidOut) this.#arrange(session);
    for (const [id, row] of this.#rows) {
      if (!isLaidOut || session.touched.has(id)) row.show(session, session.agents.get(id));
    }
  }

  #arrange(session) {
    this.#layout = layoutOf(session);
    const order = [{ id: "", depth: 0 }, ...treeOrder(session.agents)].slice(0, this.#shownMax + 1);
    const kept = new Set(order.map(({ id }) => id));
    for (const id of this.#rows.keys()) if (!kept.has(id)) this.#rows.delete(id);
    setChildren(this.#list, order.map(({ id, depth }) => {
      if (!this.#rows.has(id)) this.#rows.set(id, new AgentRow(id, this.onPick));
      const row = this.#rows.get(id);
      row.node.style.setProperty("--depth", String(depth));
      setData(row.node, "depth", String(depth));
      return row.node;
    }));
    setHidden(this.#more, session.agents.size <= this.#shownMax);
    setText(this.#more, `Show more of ${session.agents.size} agents`);
  }
}

/** One row: an agent, or (with the empty id) what is said and done in the session's own name. */
class AgentRow {
  #icon = makeIcon(ICONS.idle);
  #name = make("bdi", "agent-name");
  #role = make("span", "agent-role");
  #status = make("span", "agent-status");
  #bar = makeBar("Progress of the agent");
  #doing = make("p", "agent-doing");
  #tools = make("ul", "agent-tools");
  #said = make("p", "agent-said", document.createTextNode(""));

  constructor(id, onPick) {
    this.id = id;
    const pick = button("pick", "", () => onPick(id));
    pick.title = "Show only this agent's activity";
    pick.append(this.#name);
    this.#doing.dir = this.#said.dir = "auto";
    this.#tools.setAttribute("aria-label", "Running tools");
    const text = make("div", "agent-text", this.#doing, this.#tools, this.#said);
    const head = make("div", "agent-head", this.#icon, pick, this.#role);
    this.node = make("li", "agent", head, text, make("div", "agent-state", this.#status, this.#bar));
    if (id === "") head.hidden = true;
  }

  show(session, agent) {
    if (agent) {
      setData(this.node, "family", familyOf(agent.status));
      setIcon(this.#icon, ICONS[familyOf(agent.status)]);
      setText(this.#name, agent.name || agent.id);
      setLine(this.#role, agent.role && agent.role !== agent.name ? agent.role : "");
      const progress = agent.status === "completed" ? null : agent.progress;
      setText(this.#status, progress === null ? agent.status : `${agent.status} ${Math.round(progress)} %`);
      setTitle(this.node, agent.id === agent.name ? "" : agent.id);
      setBar(this.#bar, progress);
      setLine(this.#doing, agent.summary || agent.message || agent.task);
    } else {
      setHidden(this.#doing, true);
    }
    const tools = [...session.running].filter(([, tool]) => (session.agents.has(tool.agent) ? tool.agent : "") === this.id);
    this.#showTools(tools);
    this.#showSaid(session.spoken.get(this.id));
    if (this.id === "") setHidden(this.node, tools.length === 0 && !session.spoken.has(""));
  }

  #showTools(tools) {
    setHidden(this.#tools, tools.length === 0);
    const key = tools.map(([call]) => call).join("\n");
    if (this.#tools.dataset.calls === key) return;
    this.#tools.dataset.calls = key;
    const chips = tools.slice(-TOOLS_MAX).map(([, tool]) => {
      const since = makeTime("elapsed");
      setTime(since, tool.sinceMs);
      return make("li", "", makeIcon(ICONS.tool), make("bdi", "", tool.name || "tool"), since);
    });
    if (tools.length > TOOLS_MAX) chips.unshift(make("li", "", `+${tools.length - TOOLS_MAX}`));
    this.#tools.replaceChildren(...chips);
  }

  #showSaid(said) {
    setHidden(this.#said, !said);
    if (!said) return;
    setText(this.#said, said.by ? `${said.by}: ${said.words}` : said.words);
    setData(this.#said, "streaming", String(!said.done));
    // While it grows the end is what matters, afterwards the beginning.
    this.#said.scrollTop = said.done ? 0 : this.#said.scrollHeight;
  }
}

/** What the tree's shape depends on. */
function layoutOf(session) {
  let layout = "";
  for (const agent of session.agents.values()) layout += `${agent.id}\n${agent.parent}\n`;
  return layout;
}

/** Agents depth first, each below its parent; those whose parent is unknown, or in a circle, stand at the top. */
function treeOrder(agents) {
  const children = new Map();
  for (const agent of agents.values()) {
    const parent = agents.has(agent.parent) && agent.parent !== agent.id ? agent.parent : "";
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(agent.id);
  }
  const order = [];
  const placed = new Set();
  const place = (id, depth) => {
    if (placed.has(id)) return;
    placed.add(id);
    order.push({ id, depth });
    if (depth < 64) for (const child of children.get(id) ?? []) place(child, depth + 1);
  };
  for (const id of children.get("") ?? []) place(id, 0);
  for (const id of agents.keys()) place(id, 0);
  return order.map(({ id, depth }) => ({ id, depth: Math.min(depth, DEPTH_MAX) }));
}
