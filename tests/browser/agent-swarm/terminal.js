// A terminal of the Agent Swarm dashboard, as its documents describe one, without React around it: how it connects, what it
// falls back to, and how it comes back. It knows nothing of Tidings.

/** Pauses before it connects again; then it polls. */
const RECONNECT_MS = [1000, 1500, 2250];
const POLL_MS = 5000;
/** While it polls it looks for a socket again. */
const RETRY_SOCKET_MS = 30_000;
const HEARTBEAT_MS = 30_000;
const PONG_MS = 5000;
const LOGS = 100;

class Terminal {
  mode = "connecting";
  attempts = 0;
  agents = {};
  stage = null;
  progress = null;
  completed = null;
  error = null;
  /** What it shows, each line once, in the order in which it came. */
  lines = [];
  ids = new Set();
  polls = 0;
  unchanged = 0;

  constructor(base, projectId, token) {
    Object.assign(this, { base, projectId, token });
    this.connect();
  }

  get socketUrl() {
    const token = this.token ? `?token=${encodeURIComponent(this.token)}` : "";
    return `${this.base.replace("http", "ws")}/ws/admin/agent-swarm/${this.projectId}${token}`;
  }

  connect() {
    const ws = (this.ws = new WebSocket(this.socketUrl));
    ws.onopen = () => {
      this.attempts = 0;
      clearInterval(this.polling);
      clearTimeout(this.retrying);
      this.mode = "websocket";
      this.heartbeat = setInterval(() => this.ping(), HEARTBEAT_MS);
      window.heard("open", "");
    };
    ws.onmessage = (event) => {
      if (event.data === "pong") return clearTimeout(this.pong);
      window.heard("message", event.data);
      this.handle(JSON.parse(event.data));
    };
    ws.onclose = (event) => {
      clearInterval(this.heartbeat);
      clearTimeout(this.pong);
      window.heard("close", String(event.code));
      this.again();
    };
  }

  ping() {
    this.ws.send("ping");
    this.pong = setTimeout(() => this.ws.close(4000, "Heartbeat timeout"), PONG_MS);
  }

  again() {
    if (this.mode === "polling") {
      this.retrying = setTimeout(() => this.connect(), RETRY_SOCKET_MS);
    } else if (this.attempts < RECONNECT_MS.length) {
      this.mode = "connecting";
      setTimeout(() => this.connect(), RECONNECT_MS[this.attempts]);
      this.attempts += 1;
    } else {
      this.mode = "polling";
      window.heard("polling", "");
      this.poll();
      this.polling = setInterval(() => this.poll(), POLL_MS);
      this.retrying = setTimeout(() => this.connect(), RETRY_SOCKET_MS);
    }
  }

  async get(path) {
    const answer = await fetch(`${this.base}/v1/public/agent-swarms${path}`, {
      headers: this.token ? { authorization: `Bearer ${this.token}` } : {},
    });
    if (answer.headers.get("x-poll-interval") === null) throw new Error("no hint of when to poll again");
    return answer.json();
  }

  async poll() {
    try {
      const [status, agents] = [await this.get(`/projects/${this.projectId}/status`), await this.get(`/projects/${this.projectId}/agents`)];
      this.progress = status.progress;
      this.stage = status.current_stage;
      for (const agent of agents.agents) this.agents[agent.name] = agent;
      await this.load();
      this.polls += 1;
      window.heard("polled", "");
    } catch (error) {
      window.heard("failed", String(error));
    }
  }

  /** The newest lines; those that it shows already it knows by their id. */
  async load() {
    const { logs } = await this.get(`/projects/${this.projectId}/logs?limit=${LOGS}`);
    for (const line of logs) this.show({ id: line.id, message: line.message, level: line.level });
  }

  show(line) {
    if (this.ids.has(line.id)) return;
    this.ids.add(line.id);
    this.lines.push(line);
  }

  handle(message) {
    switch (message.type) {
      case "connection_established":
        this.load().then(() => window.heard("loaded", ""), (error) => window.heard("failed", String(error)));
        break;
      case "agent_status_update":
        this.agents[message.agent] = { name: message.agent, status: message.status, progress: message.progress };
        break;
      case "workflow_stage_update":
        this.stage = message.stage;
        break;
      case "project_progress":
        this.progress = message.progress;
        break;
      case "workflow_log":
        this.show({ id: message.id, message: message.message, level: message.level });
        break;
      case "project_completed":
        this.completed = message.url || message.completion_url || message.deployment_url;
        break;
      case "project_error":
        this.error = message.error;
        break;
      default:
        break;
    }
  }
}

window.watchProject = (base, projectId, token) => {
  window.terminal = new Terminal(base, projectId, token);
};

/** Opens a socket for what it comes to: how it was closed, or what was said up to the first message that has `until` in it. */
window.tryOut = (url, { protocols = [], said = [], until = "" } = {}) =>
  new Promise((resolve) => {
    const messages = [];
    const ws = new WebSocket(url, protocols);
    ws.onopen = () => said.forEach((text) => ws.send(text));
    ws.onmessage = (event) => {
      messages.push(event.data);
      if (event.data.includes(until)) {
        (window.held ??= []).push(ws);
        resolve({ messages, protocol: ws.protocol });
      }
    };
    ws.onclose = (event) => resolve({ code: event.code, reason: event.reason, messages });
  });
