// How PyGent Factory's page holds its connection: the native WebSocket of production, with the page's own way of coming
// back, and Socket.IO's library over either transport, or over both as it comes, with the library's. All write down what they
// hear.

import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { WebSocket } from "ws";

/** A bound for broken code, not a measure. */
const PATIENCE_MS = 60_000;
/** As in the page: the n-th try comes after RECONNECT_MS * 2^(n-1), so many of them, and none after a close with 1000. */
const RECONNECT_MS = 1_000;
const TRIES_MAX = 5;

class Link {
  /** What was heard, as {type, data}. */
  heard = [];
  /** How often it was connected. */
  connected = 0;
  #wake = () => {};

  hear(type, data) {
    this.heard.push({ type, data });
    this.#wake();
  }

  opened() {
    this.connected += 1;
    this.#wake();
  }

  /** Waits until `find` finds something. */
  async until(what, find) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = find();
      if (found) return found;
      const heard = this.heard.slice(-5).map((said) => JSON.stringify(said)).join("\n");
      assert.ok(Date.now() < deadline, `not within ${PATIENCE_MS} ms: ${what}\n${heard}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#wake = () => (clearTimeout(timer), resolve());
      });
    }
  }

  /** The next message behind the first `after` ones that is of this type and matches. */
  hears(type, after = 0, matches = () => true) {
    return this.until(type, () => this.heard.slice(after).find((said) => said.type === type && matches(said.data)));
  }
}

class Native extends Link {
  #socket;
  #tries = 0;

  constructor(url, headers) {
    super();
    this.url = `${url.replace("http", "ws")}/ws`;
    this.headers = headers;
    this.#connect();
  }

  #connect() {
    this.#socket = new WebSocket(this.url, { headers: this.headers });
    this.#socket.on("open", () => {
      this.#tries = 0;
      this.opened();
    });
    this.#socket.on("message", (bytes) => {
      const { type, data, ...rest } = JSON.parse(bytes);
      assert.deepEqual(rest, {}, "a frame is a type and data");
      this.hear(type, data);
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", (code) => {
      if (code === 1000) return;
      this.#tries += 1;
      assert.ok(this.#tries <= TRIES_MAX, "the page gives up");
      setTimeout(() => this.#connect(), RECONNECT_MS * 2 ** (this.#tries - 1));
    });
  }

  say(type, data) {
    this.#socket.send(JSON.stringify(data === undefined ? { type } : { type, data }));
  }

  close() {
    this.#socket.close(1000, "Client disconnect");
  }
}

class SocketIo extends Link {
  /** Why it was disconnected, each time. */
  reasons = [];

  constructor(url, options) {
    super();
    this.socket = io(url, { ...options, timeout: 10_000, forceNew: true });
    this.socket.on("connect", () => this.opened());
    this.socket.on("disconnect", (reason) => this.reasons.push(reason));
    this.socket.onAny((type, data, ...more) => {
      assert.deepEqual(more, [], "an event has one argument");
      this.hear(type, data);
    });
  }

  say(type, ...data) {
    this.socket.emit(type, ...data);
  }

  close() {
    this.socket.disconnect();
  }
}

/** A link by its name, which shows this token if there is one. */
export function link(name, url, token) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  switch (name) {
    case "native": return new Native(url, headers);
    case "websocket": return new SocketIo(url, { transports: ["websocket"], upgrade: false });
    case "polling": return new SocketIo(url, { transports: ["polling"], upgrade: false });
    case "default": return new SocketIo(url, {});
    // Begins its upgrade when it is told to.
    case "late": return new SocketIo(url, { upgrade: false });
    default: throw new Error(`no link is called ${name}`);
  }
}
