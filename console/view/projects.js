// The list of projects, as links, so that each has an address. Bounded; the most recently active come first.

import { make, setAttribute, setChildren, setHidden, setText } from "./dom.js";
import { makeTime, setTime } from "./time.js";

const PROJECTS_MAX = 200;

export class ProjectsView {
  #rows = new Map();
  #list = make("ul");
  #more = make("p", "hint");

  constructor(root) {
    root.append(make("h2", "label", "Projects"), this.#list, this.#more);
    this.root = root;
  }

  show(projects, selected) {
    const shown = projects.slice(0, PROJECTS_MAX);
    const names = new Set(shown.map((project) => project.name));
    for (const name of this.#rows.keys()) if (!names.has(name)) this.#rows.delete(name);
    setChildren(this.#list, shown.map((project) => this.#row(project, project.name === selected)));
    const hidden = projects.length - shown.length;
    setText(this.#more, hidden > 0 ? `and ${hidden.toLocaleString("en")} more` : projects.length === 0 ? "None yet" : "");
    setHidden(this.#more, this.#more.textContent === "");
  }

  #row(project, isSelected) {
    let row = this.#rows.get(project.name);
    if (!row) {
      const [name, running, waiting, active] = [make("bdi", "name"), make("span", "count running"), make("span", "count waiting"), makeTime("ago", "when")];
      const link = make("a", "", name, active, make("span", "counts", running, waiting));
      link.href = `#${encodeURIComponent(project.name)}`;
      row = { node: make("li", "", link), link, name, running, waiting, active };
      this.#rows.set(project.name, row);
    }
    setText(row.name, project.name);
    setText(row.running, project.running > 0 ? `${project.running} running` : "");
    setText(row.waiting, project.approvals > 0 ? `${project.approvals} waiting` : "");
    setTime(row.active, project.activeMs > 0 ? project.activeMs : null);
    setAttribute(row.link, "aria-current", isSelected ? "page" : "false");
    return row.node;
  }
}
