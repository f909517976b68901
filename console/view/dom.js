// The only place that makes elements and writes text. There is no way through here for text to become markup.

import { printable } from "./printable.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with classes and children; strings among them become text. */
export function make(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children) {
    if (child === null || child === undefined) continue;
    node.append(typeof child === "string" ? printable(child) : child);
  }
  return node;
}

export function button(className, label, onClick) {
  const node = make("button", className, label);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

/** Sets text; touches the document only where it differs. */
export function setText(node, string) {
  const shown = printable(string);
  if (node.textContent !== shown) node.textContent = shown;
}

/** Sets text and hides the node where there is none. */
export function setLine(node, string) {
  setText(node, string);
  setHidden(node, string === "");
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

export function setTitle(node, string) {
  const shown = printable(string);
  if (node.title !== shown) node.title = shown;
}

export function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Makes `parent` hold exactly `nodes`, in order, moving as few as it must. */
export function setChildren(parent, nodes) {
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** A progress bar; null: unknown, not shown. */
export function makeBar(label) {
  const fill = make("span", "bar-fill");
  const bar = make("span", "progress", fill);
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.setAttribute("aria-label", label);
  bar.hidden = true;
  return bar;
}

export function setBar(bar, percent) {
  setHidden(bar, percent === null);
  if (percent === null) return;
  setAttribute(bar, "aria-valuenow", String(Math.round(percent)));
  bar.firstChild.style.setProperty("--share", String(percent / 100));
}

/** A drawn sign of 16 by 16; `paths` come from this page's own code only. */
export function makeIcon(paths) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  setIcon(svg, paths);
  return svg;
}

export function setIcon(svg, paths) {
  if (svg.dataset.paths === paths) return;
  svg.dataset.paths = paths;
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", paths);
  svg.replaceChildren(path);
}
