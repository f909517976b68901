// The WebSocket: connects, subscribes, notices silence, comes back behind the last position. Knows nothing of what
// events mean; `onFrame` gets every frame of the followed project, `onState` is called whenever `state` changed.

import { credential } from "./credential.js";
import { Pace, SILENCE_MS } from "./pace.js";
import { afterClose } from "./retry.js";
import { Subscription } from "./subscription.js";

const SUBPROTOCOL = "tidings.v1";
// A page cannot set headers on a socket; the server reads the credential behind this, and never chooses it.
const CREDENTIAL_PREFIX = "tidings.token.";
const CONNECT_TIMEOUT_MS = 10_000;
// The server's own pings are invisible to a page, so it sends some too: a dead link shows within their sum.
const PING_MS = 15_000;
const PONG_TIMEOUT_MS = 8_000;
// A connection that lived this long was a good one: the backoff starts anew.
const LASTED_MS = 5_000;
const REFUSED_RETRY_MS = 3_000;
// Refusals of a subscription that may pass; every other one would come again.
const PASSING = new Set(["busy", "draining", "internal", "memory_pressure", "newer_format", "redis_away"]);

export class Connection {
  /** `phase`: idle, connecting, catching_up, live, waiting (for `retryAtMs`), stopped. */
  state = { phase: "idle", why: null, retryAtMs: null, degraded: false, draining: false };
  #url;
  #onFrame;
  #onState;
  #socket = null;
  #subscription = null;
  #pace = new Pace();
  #attempt = 0;
  #openedAtMs = 0;
  #timers = new Map();

  constructor(url, { onFrame, onState }) {
    this.#url = url;
    this.#onFrame = onFrame;
    this.#onState = onState;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#ping(PONG_TIMEOUT_MS / 4));
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  /** Follows one project, from now on and with a snapshot; the former one is left. */
  follow(project) {
    const former = this.#subscription;
    this.#subscription = new Subscription(project);
    if (this.#socket?.readyState === WebSocket.OPEN) {
      if (former) this.#send({ op: "unsubscribe", project: former.project });
      this.#subscribe();
    } else if (!this.#socket && !this.#timers.has("retry")) {
      this.connect();
    }
  }

  /** Connects at once, whatever was waited for. */
  connect() {
    this.#clear("retry");
    this.#socket?.close();
    const shown = credential();
    const socket = new WebSocket(this.#url, shown ? [SUBPROTOCOL, CREDENTIAL_PREFIX + shown] : SUBPROTOCOL);
    this.#socket = socket;
    this.#set({ phase: "connecting", retryAtMs: null, draining: false });
    this.#after("silence", CONNECT_TIMEOUT_MS, () => this.#lose(socket, 1006, ""));
    const mine = (handler) => (event) => socket === this.#socket && handler(event);
    socket.onopen = mine(() => this.#opened());
    socket.onmessage = mine((message) => this.#heard(message.data));
    socket.onclose = mine((close) => this.#lose(socket, close.code, close.reason));
  }

  #opened() {
    this.#openedAtMs = performance.now();
    this.#set({ degraded: false, why: null });
    this.#listen();
    if (this.#subscription) this.#subscribe();
  }

  #subscribe() {
    this.#pace.restart();
    this.#set({ phase: "catching_up" });
    this.#send(this.#subscription.request());
  }

  #heard(text) {
    this.#listen();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    switch (frame?.op) {
      case "degraded":
        return this.#set({ degraded: frame.active === true });
      case "draining":
        return this.#set({ draining: true });
      case "error":
        return this.#refused(frame);
      default:
        if (!this.#subscription?.take(frame)) return;
        this.#keepPace(frame);
        this.#onFrame(frame, text.length);
    }
  }

  #keepPace(frame) {
    // Who comes and goes says nothing of how far the stream is.
    if (frame.op === "presence" || (frame.op === "event" && frame.event.position === undefined)) return;
    const nowMs = Date.now();
    if (frame.op === "event") this.#pace.hear(frame.event, false, nowMs);
    else if (frame.op === "events") frame.events?.forEach((event) => this.#pace.hear(event, true, nowMs));
    else if (frame.op === "snapshot" || frame.op === "at") this.#pace.settle();
    if (this.#pace.live) {
      this.#clear("settle");
      this.#set({ phase: "live" });
    } else {
      this.#set({ phase: "catching_up" });
      this.#after("settle", SILENCE_MS, () => {
        this.#pace.settle();
        this.#set({ phase: "live" });
      });
    }
  }

  #refused(frame) {
    if (!this.#subscription?.isRefusedBy(frame)) return;
    const why = String(frame.message ?? frame.code);
    if (PASSING.has(frame.code)) {
      this.#set({ phase: "catching_up", why });
      this.#after("refused", REFUSED_RETRY_MS, () => this.#subscribe());
    } else {
      this.#set({ phase: "stopped", why });
    }
  }

  /** Anything heard proves the link; then silence is asked about, and at last taken for a cut. */
  #listen() {
    this.#after("silence", PING_MS, () => this.#ping(PONG_TIMEOUT_MS));
  }

  #ping(timeoutMs) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.#send({ op: "ping" });
    this.#after("silence", timeoutMs, () => this.#lose(socket, 1006, ""));
  }

  #lose(socket, code, reason) {
    this.#socket = null;
    ["silence", "settle", "refused"].forEach((name) => this.#clear(name));
    socket.close();
    const lasted = this.#openedAtMs > 0 && performance.now() - this.#openedAtMs > LASTED_MS;
    this.#attempt = lasted ? 0 : this.#attempt + 1;
    this.#openedAtMs = 0;
    const next = afterClose(code, reason, this.#attempt);
    if (!next.again) return this.#set({ phase: "stopped", why: next.why });
    this.#after("retry", next.delayMs, () => this.connect());
    this.#set({ phase: "waiting", why: next.why, retryAtMs: Date.now() + next.delayMs, degraded: false });
  }

  #hurry() {
    if (this.state.phase === "waiting") this.connect();
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #set(change) {
    if (Object.entries(change).every(([name, value]) => this.state[name] === value)) return;
    this.state = { ...this.state, ...change };
    this.#onState(this.state);
  }

  #after(name, delayMs, run) {
    this.#clear(name);
    this.#timers.set(name, setTimeout(() => (this.#timers.delete(name), run()), delayMs));
  }

  #clear(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
