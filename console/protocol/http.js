// What the page asks for over HTTP: which projects there are, what happened before it came, and the way back to runners.

import { credential } from "./credential.js";

/** The most that one answer holds. */
const PROJECTS_MAX = 1_000;

/** The projects, the first by name where there are too many: `{name, running, approvals, activeMs}`, most recently active first. */
export async function listProjects() {
  const { projects = [] } = await getJson(`v1/projects?limit=${PROJECTS_MAX}`);
  return projects.map(readProject).sort((a, b) => b.activeMs - a.activeMs || a.name.localeCompare(b.name));
}

function readProject(row) {
  const counts = { ...row, ...(typeof row.sessions === "object" ? row.sessions : {}), ...row.summary };
  return {
    name: String(row.project ?? row.name),
    running: counts.running ?? 0,
    approvals: counts.approvals ?? row.approvals ?? 0,
    activeMs: counts.last_activity_ms ?? (Date.parse(counts.last_activity ?? "") || 0),
  };
}

/** The newest `limit` events, oldest first. */
export async function newestEvents(project, limit) {
  const query = new URLSearchParams({ before: "now", limit: String(limit) });
  const { events = [] } = await getJson(`v1/projects/${encodeURIComponent(project)}/events?${query}`);
  return events;
}

/** Puts a command; resolves when it is taken, which is not yet when it is answered. Under the same `id` it may be put again. */
export async function putCommand(project, command) {
  return askJson(`v1/projects/${encodeURIComponent(project)}/commands`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(command),
  });
}

/** An answer that is no success; `status` says which, and `detail` what the server says of it. */
class Refusal extends Error {
  constructor(path, status, detail) {
    super(`${path}: ${status}`);
    this.status = status;
    this.detail = detail;
  }
}

function getJson(path) {
  return askJson(path, { cache: "no-store" });
}

async function askJson(path, request) {
  const headers = { accept: "application/json", ...request.headers };
  if (credential()) headers.authorization = `Bearer ${credential()}`;
  const response = await fetch(path, { ...request, headers });
  if (!response.ok) throw new Refusal(path, response.status, await detailOf(response));
  return response.json();
}

/** What a problem (RFC 9457) says; "" where something in between answered. */
async function detailOf(response) {
  const problem = await response.json().catch(() => null);
  return String(problem?.detail ?? problem?.title ?? "");
}
