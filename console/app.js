// What starts, and what tells whom: the address picks a project, the connection follows it, frames change its state, and
// at most once a frame the views show what changed.

import { Connection } from "./protocol/connection.js";
import { listProjects, newestEvents, putCommand } from "./protocol/http.js";
import { Project } from "./state/project.js";
import { ApprovalsView } from "./view/approvals.js";
import { CredentialView } from "./view/credential.js";
import { setHidden, setText } from "./view/dom.js";
import { FeedView } from "./view/feed.js";
import { LinkView } from "./view/link.js";
import { ProjectsView } from "./view/projects.js";
import { RecordView } from "./view/record.js";
import { SessionsView } from "./view/sessions.js";
import { startThemeButton } from "./view/theme_button.js";
import { startClock } from "./view/time.js";
import { WatchingView } from "./view/watching.js";
import { fillWelcome } from "./view/welcome.js";

/** Where the first event of somebody who only wants to try goes. */
const FIRST_PROJECT = "demo";
const POLL_MS = 4_000;
/** While nothing is there yet, somebody is waiting for the first project. */
const POLL_EMPTY_MS = 1_000;
const HISTORY_EVENTS = 200;
/** A page in the background only keeps its title current. */
const HIDDEN_DRAW_MS = 1_000;

const at = (id) => document.getElementById(id);

const wish = makeFrameLoop(draw);
const views = {
  projects: new ProjectsView(at("projects")),
  record: new RecordView(at("record-button"), at("record")),
  approvals: new ApprovalsView(at("approvals"), { onAnswer: answer }),
  sessions: new SessionsView(at("sessions"), { onPick: pick, onWish: wish }),
  feed: new FeedView(at("activity")),
  credential: new CredentialView(at("credential"), () => {
    connection.connect();
    look().then(wish, () => {});
  }),
  watching: new WatchingView(at("watching")),
  link: new LinkView(at("link"), at("notice"), () => connection.connect()),
};
const connection = new Connection(socketUrl(), {
  onFrame: (frame, bytes) => {
    project.take(frame, bytes);
    if (frame.op === "snapshot" && !project.isRemembered) remember(project);
    wish();
  },
  onState: wish,
});

/** The project that is shown; whether a person picked it, or it is only the best guess. */
let project = null;
let isPicked = false;
let projects = [];

function follow(name) {
  if (project?.name === name) return;
  project = new Project(name);
  views.sessions.follow(project.swarm);
  views.feed.follow(project.feed);
  views.record.follow(project.continuity);
  fillWelcome(at("welcome"), name);
  connection.follow(name);
  wish();
}

function route() {
  const name = readHash();
  isPicked = name !== "";
  follow(name || projects[0]?.name || FIRST_PROJECT);
}

function readHash() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Fills the feed with what happened before; the page is whole without it. */
async function remember(shown) {
  shown.isRemembered = true;
  try {
    const events = await newestEvents(shown.name, HISTORY_EVENTS);
    shown.remember(events);
    wish();
  } catch {
    // The state is there from the snapshot, and the feed fills as things happen.
  }
}

/** Learns which projects there are, or that a credential is asked for. */
async function look() {
  try {
    projects = await listProjects();
    views.credential.hide();
  } catch (error) {
    if (error.status === 401) views.credential.ask();
    throw error;
  }
}

async function poll() {
  try {
    if (!document.hidden) await look();
    // A guess moves on to where life is; a choice stays.
    if (!isPicked && !project.hasHistory && projects.length > 0) follow(projects[0].name);
    wish();
  } catch {
    // The connection's state tells of an absent server; the list stays as it was.
  }
  setTimeout(poll, projects.length === 0 ? POLL_EMPTY_MS : POLL_MS);
}

/** Answers an approval. That it is resolved comes as an event; here is told only what was refused. */
async function answer({ key, id: approval_id, session }, decision) {
  const { name, swarm } = project;
  const id = `page-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`;
  swarm.answers(key, id);
  wish();
  try {
    await putCommand(name, { type: "approval.answer", id, session, data: { approval_id, decision } });
  } catch (error) {
    swarm.refused(id, error.status ? error.detail || `The server refused it (${error.status}).` : "The server was not reached.");
    wish();
  }
}

function pick(what) {
  views.feed.controls.pick(what);
  showPane("activity");
}

/** On a narrow screen one pane is shown at a time. */
function showPane(pane) {
  document.body.dataset.pane = pane;
  for (const node of document.querySelectorAll("[data-show]")) {
    node.setAttribute("aria-pressed", String(node.dataset.show === pane));
  }
}

function draw() {
  const { swarm } = project;
  const isEmpty = project.isKnown && !project.hasHistory;
  setText(at("project-name"), project.name);
  setHidden(at("welcome"), !isEmpty);
  setHidden(at("sessions"), isEmpty);
  views.watching.show(project.presence);
  views.link.show(connection.state);
  views.record.show();
  views.projects.show(projects, project.name);
  if (swarm.approvalsChanged) {
    swarm.approvalsChanged = false;
    views.approvals.show(swarm);
  }
  views.sessions.show();
  views.feed.show();
  const waiting = swarm.approvals.size > 0 ? `(${swarm.approvals.size}) ` : "";
  const title = `${waiting}${project.name} · Tidings`;
  if (document.title !== title) document.title = title;
}

/** Returns a function that asks for a drawing: one per frame, or a slow one while nobody looks. */
function makeFrameLoop(run) {
  let cancel = null;
  const turn = () => {
    cancel = null;
    run();
  };
  const ask = () => {
    if (cancel) return;
    if (document.hidden) {
      const timer = setTimeout(turn, HIDDEN_DRAW_MS);
      cancel = () => clearTimeout(timer);
    } else {
      const frame = requestAnimationFrame(turn);
      cancel = () => cancelAnimationFrame(frame);
    }
  };
  document.addEventListener("visibilitychange", () => {
    if (!cancel) return;
    cancel();
    cancel = null;
    ask();
  });
  return ask;
}

function socketUrl() {
  const url = new URL("v1/ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}

async function start() {
  startThemeButton(at("theme"));
  startClock(document.body);
  setInterval(() => document.hidden || views.record.tick(), 1_000);
  for (const node of document.querySelectorAll("[data-show]")) {
    node.addEventListener("click", () => showPane(node.dataset.show));
  }
  addEventListener("hashchange", route);
  addEventListener("focus", () => wish());
  await look().catch(() => {});
  route();
  setTimeout(poll, POLL_EMPTY_MS);
}

start();
