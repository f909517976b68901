// What the page's tests share: a browser, a link that can be cut, a runner that posts, and eyes.

import { connect, createServer } from "node:net";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.TIDINGS_CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync",
];
/** How long a person may wait for anything: a bound for broken code, not a measure. */
const PATIENCE_MS = 20_000;

export function serverUrl() {
  const url = process.env.TIDINGS_URL;
  if (!url) throw new Error("TIDINGS_URL must name a running server");
  return new URL(url);
}

/** A fresh profile each time: `executablePath` without a user data directory makes a temporary one. */
export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

let projects = 0;

/** A project that no other test, and no earlier run, has touched. */
export function freshProject() {
  projects += 1;
  return `page-${process.pid}-${Date.now().toString(36)}-${projects}`;
}

/** A runner: posts events of one project, straight to the server. */
export class Runner {
  constructor(project, session = "s1") {
    this.project = project;
    this.session = session;
  }

  /** Posts one event; resolves when the server has it. */
  async say(type, data, { agent, parent, session = this.session } = {}) {
    return this.post([{ type, session, ...(agent && { agent }), ...(parent && { parent }), data }]);
  }

  async post(events) {
    const answer = await fetch(new URL(`/v1/projects/${this.project}/events`, serverUrl()), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  /** Deletes a session; resolves when it is gone. */
  async deletes(session) {
    const url = new URL(`/v1/projects/${this.project}/sessions/${session}`, serverUrl());
    const answer = await fetch(url, { method: "DELETE", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  }
}

/** A TCP proxy between the browser and the server: the cable that a test can pull out and put back. */
export class Cable {
  #sockets = new Set();
  #isCut = false;

  static async plugIn() {
    const cable = new Cable();
    const target = serverUrl();
    const server = createServer((near) => cable.#join(near, target));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    cable.server = server;
    cable.url = `http://127.0.0.1:${server.address().port}/`;
    return cable;
  }

  #join(near, target) {
    if (this.#isCut) return near.destroy();
    const far = connect(Number(target.port || 80), target.hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => (this.#sockets.delete(socket), other.destroy()));
      socket.pipe(other);
    }
  }

  /** Ends every connection and refuses new ones. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  unplug() {
    this.cut();
    this.server.close();
  }
}

/** A page on one project, with what its tests look at. Fails the test on any error or dialog of the page. */
export class Eyes {
  faults = [];

  static async on(browser, url, project, options = {}) {
    const eyes = new Eyes();
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => eyes.faults.push(String(error)));
    page.on("dialog", (dialog) => (eyes.faults.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
    page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) eyes.faults.push(message.text());
    });
    await page.goto(`${url}#${project}`);
    return Object.assign(eyes, {
      page,
      context,
      link: page.locator("#link"),
      record: page.locator("#record-button"),
      feed: page.getByRole("log"),
      rows: page.locator(".feed-list > li"),
      sessions: page.locator("#sessions"),
    });
  }

  /** Waits until the connection says so. */
  async linkSays(word) {
    await this.link.getByText(word, { exact: true }).waitFor();
  }

  /** Waits until a part of the page has this text. */
  async sees(locator, text) {
    await locator.filter({ hasText: text }).first().waitFor();
  }

  /** Waits until a function of the page's document holds. */
  async until(holds, argument) {
    await this.page.waitForFunction(holds, argument);
  }
}
