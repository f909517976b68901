// The two things that the page asks for over HTTP: which projects there are, and what happened before it came.

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

/** An answer that is no success; `status` says which. */
class Refusal extends Error {
  constructor(path, status) {
    super(`${path}: ${status}`);
    this.status = status;
  }
}

async function getJson(path) {
  const headers = { accept: "application/json" };
  if (credential()) headers.authorization = `Bearer ${credential()}`;
  const response = await fetch(path, { headers, cache: "no-store" });
  if (!response.ok) throw new Refusal(path, response.status);
  return response.json();
}
