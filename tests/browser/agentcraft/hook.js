// A front end of AgentCraft, as its documents describe one, without React around it: what its hook keeps, answers and does
// when the connection ends. It knows nothing of Tidings.

/** The hook's pause before it connects again. */
const RECONNECT_MS = 3000;

class AgentTracking {
  agentStatuses = {};
  activeSessions = [];
  collaborations = [];
  session = null;
  sessionLogs = [];
  isConnected = false;
  connects = 0;

  constructor(base, clientId) {
    this.url = `${base}/ws/agent-tracking/${clientId}`;
    this.connect();
  }

  connect() {
    const ws = (this.ws = new WebSocket(this.url));
    ws.onopen = () => {
      this.isConnected = true;
      this.connects += 1;
      window.heard("open", "");
    };
    ws.onmessage = (event) => {
      window.heard("message", event.data);
      this.handle(JSON.parse(event.data));
    };
    ws.onclose = (event) => {
      this.isConnected = false;
      window.heard("close", String(event.code));
      setTimeout(() => this.connect(), RECONNECT_MS);
    };
  }

  handle(message) {
    switch (message.type) {
      case "active_sessions":
        this.activeSessions = message.data.sessions;
        break;
      case "agent_status": {
        const { agent_id, agent_name, status, progress } = message;
        this.agentStatuses[agent_id] = { name: agent_name, status, progress, message: message.message };
        break;
      }
      case "agent_collaboration":
        this.collaborations.push(`${message.primary_agent} → ${message.secondary_agent}: ${message.reason}`);
        break;
      case "session_state":
        this.session = message.state;
        break;
      case "session_logs":
        this.sessionLogs.push(...message.logs);
        break;
      case "ping":
        this.send({ type: "pong" });
        break;
      default:
    }
  }

  send(message) {
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(message));
  }
}

window.startTracking = (base, clientId) => (window.tracking = new AgentTracking(base, clientId));
