// Times: relative or elapsed on the page, exact on hover, all kept current by one clock.

import { make, setText } from "./dom.js";

const TICK_MS = 1_000;

/** A `<time>`; form: `ago` ("3 min ago"), `elapsed` ("3 min 5 s"), `until` ("in 3 min"). */
export function makeTime(form, className = "") {
  const node = make("time", className);
  node.dataset.form = form;
  return node;
}

/** Points it at a moment; `endMs` stops the clock of an elapsed time. Null: nothing to show. */
export function setTime(node, ms, endMs = null) {
  node.hidden = ms === null;
  if (ms === null) return;
  const key = `${ms}/${endMs ?? ""}`;
  if (node.dataset.ms === key) return;
  node.dataset.ms = key;
  node.dateTime = new Date(ms).toISOString();
  node.title = endMs === null ? exact(ms) : `${exact(ms)} to ${exact(endMs)}`;
  refresh(node, Date.now());
}

/** Keeps every `<time>` below `root` current. */
export function startClock(root) {
  setInterval(() => {
    if (document.hidden) return;
    const nowMs = Date.now();
    for (const node of root.querySelectorAll("time[data-ms]")) refresh(node, nowMs);
  }, TICK_MS);
}

function refresh(node, nowMs) {
  const [ms, endMs] = node.dataset.ms.split("/");
  const spanMs = Math.max(0, (endMs ? Number(endMs) : nowMs) - Number(ms));
  if (node.dataset.form === "elapsed") return setText(node, span(spanMs, true));
  if (node.dataset.form === "ago") return setText(node, spanMs < 5_000 ? "just now" : `${span(spanMs)} ago`);
  const leftMs = Number(ms) - nowMs;
  setText(node, leftMs > 0 ? `in ${span(leftMs)}` : `${span(-leftMs)} overdue`);
}

/** "42 s", "3 min", "2 h", "4 d"; `fine` adds the next smaller unit. */
export function span(ms, fine = false) {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return fine ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return fine ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function exact(ms) {
  return `${dateTime(ms)} (${new Date(ms).toISOString()})`;
}

/** Date and time as people here write them. */
export function dateTime(ms) {
  return EXACT.format(ms);
}

/** "14:02:11" */
export function clock(ms, seconds = true) {
  const date = new Date(ms);
  const parts = [date.getHours(), date.getMinutes(), ...(seconds ? [date.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}
