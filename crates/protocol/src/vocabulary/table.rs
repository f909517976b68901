//! The table itself, in alphabetical order.

use super::{EventType, KeyRule, Kind, Member, Scope};
use crate::filter::Lane;
use crate::limits::SAFE_INTEGER_MAX;

/// A count without a bound of its own.
const COUNT: Kind = Kind::Count(SAFE_INTEGER_MAX);
/// A measure that is not negative, and small enough to be added up in integers of a millionth.
const MEASURE: Kind = Kind::Number(0.0, 1e9);
const PERCENT: Kind = Kind::Number(0.0, 100.0);
const STATUS: Kind =
    Kind::Word(&["idle", "analyzing", "processing", "collaborating", "working", "waiting", "completed", "failed"]);

const fn must(name: &'static str, kind: Kind) -> Member {
    Member { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Member {
    Member { name, required: false, kind }
}

/// A type of the control lane; the others are written out.
const fn control(name: &'static str, scope: Scope, data: &'static [Member], state: &'static str) -> EventType {
    EventType { name, lane: Lane::Control, key: KeyRule::Runner, scope, data, state }
}

const fn latest(
    name: &'static str,
    key: KeyRule,
    scope: Scope,
    data: &'static [Member],
    state: &'static str,
) -> EventType {
    EventType { name, lane: Lane::Latest, key, scope, data, state }
}

const fn delta(name: &'static str, key: KeyRule, data: &'static [Member]) -> EventType {
    EventType { name, lane: Lane::Delta, key, scope: Scope::Project, data, state: "" }
}

use Kind::{Any, Array, Bool, Name, Object, Text, Time, Word};
use Scope::{Agent, Project, Session};

pub(super) const TYPES: &[EventType] = &[
    control(
        "agent.collaboration",
        Session,
        &[
            must("primary", Name),
            must("secondary", Name),
            must("kind", Word(&["handoff", "delegation", "question", "review"])),
            may("reason", Text),
        ],
        "edge count",
    ),
    control("agent.finished", Agent, &[must("outcome", Text), may("summary", Text)], "agent"),
    control("agent.removed", Agent, &[may("reason", Text)], "agent gone"),
    control("agent.started", Agent, &[must("name", Text), may("role", Text)], "agent"),
    latest(
        "agent.status",
        KeyRule::AgentAnd("status"),
        Agent,
        &[
            must("status", STATUS),
            may("name", Text),
            may("progress", PERCENT),
            may("message", Text),
            may("task", Text),
            may("task_id", Text),
            may("estimated_completion", Any),
            may("details", Any),
        ],
        "agent",
    ),
    control(
        "alert",
        Project,
        &[must("level", Text), must("component", Text), must("message", Text), may("resolved", Bool)],
        "",
    ),
    control(
        "approval.requested",
        Session,
        &[
            must("approval_id", Name),
            must("question", Text),
            must("options", Array),
            may("deadline", Time),
            may("tool", Any),
            may("input", Any),
        ],
        "open approvals",
    ),
    control(
        "approval.resolved",
        Session,
        &[must("approval_id", Name), must("decision", Any), must("by", Text)],
        "open approvals",
    ),
    control("command.accepted", Project, &[must("command_id", Name)], ""),
    control("command.completed", Project, &[must("command_id", Name)], ""),
    control("command.failed", Project, &[must("command_id", Name)], ""),
    control("command.progress", Project, &[must("command_id", Name)], ""),
    control("evolution.completed", Project, &[may("generation", COUNT), may("fitness", Object)], ""),
    latest(
        "evolution.progress",
        KeyRule::Runner,
        Project,
        &[must("generation", COUNT), must("fitness", Object), may("state", Any)],
        "",
    ),
    control(
        "gap",
        Project,
        &[must("cause", Word(&[super::GAP_CAUSE_OF_RUNNERS])), may("lost", COUNT), may("certain", Bool)],
        "",
    ),
    control(
        "log",
        Session,
        &[
            must("level", Word(&["debug", "info", "success", "warning", "error"])),
            must("message", Text),
            may("source", Text),
            may("emoji", Text),
            may("details", Any),
        ],
        "last lines of the session",
    ),
    latest(
        "mcp.server",
        KeyRule::Data("server_id"),
        Project,
        &[must("server_id", Name), must("status", Text), may("health", Any), may("tools_count", COUNT)],
        "",
    ),
    control(
        "mcp.tool",
        Project,
        &[must("name", Text), must("event", Word(&["discovered", "changed", "removed", "called"])), may("result", Any)],
        "",
    ),
    control("memory.updated", Project, &[must("store", Text), must("operation", Text), may("count", COUNT)], ""),
    control(
        "message.completed",
        Session,
        &[must("message_id", Name), must("role", Text), must("text", Text), may("by", Text), may("metadata", Object)],
        "last message",
    ),
    delta("message.delta", KeyRule::Joined("message_id"), &[must("message_id", Name), must("text", Text)]),
    latest(
        "metrics.system",
        KeyRule::Runner,
        Project,
        &[must("cpu", Any), must("memory", Any), must("network", Any), may("gpu", Any), may("components", Any)],
        "",
    ),
    control("model.error", Project, &[], ""),
    latest("model.list", KeyRule::Runner, Project, &[], ""),
    latest("model.metrics", KeyRule::Runner, Project, &[], ""),
    latest("model.status", KeyRule::Runner, Project, &[], ""),
    control("output", Session, &[must("content", Text), may("kind", Text)], "last outputs"),
    control(
        "reasoning.completed",
        Project,
        &[must("result", Any), must("confidence", MEASURE), must("processing_time", MEASURE)],
        "",
    ),
    control("reasoning.failed", Project, &[must("error", Text)], ""),
    control("reasoning.started", Project, &[must("problem", Text), must("mode", Text)], ""),
    delta(
        "reasoning.step",
        KeyRule::SessionAnd("step"),
        &[
            must("step", COUNT),
            must("total_steps", COUNT),
            must("content", Text),
            may("confidence", MEASURE),
            may("parent", Any),
        ],
    ),
    control("reasoning.stopped", Project, &[must("reason", Text)], ""),
    control("session.cancelled", Session, &[may("reason", Text)], "session"),
    control(
        "session.completed",
        Session,
        &[
            may("result", Any),
            may("url", Text),
            may("completion_url", Text),
            may("deployment_url", Text),
            may("summary", Text),
        ],
        "session",
    ),
    control("session.failed", Session, &[must("error", Text), may("code", Any), may("retryable", Bool)], "session"),
    latest(
        "session.progress",
        KeyRule::Session,
        Session,
        &[must("progress", PERCENT), may("phase", Text), may("stage", Text), may("message", Text)],
        "session",
    ),
    control(
        "session.stage",
        Session,
        &[must("stage", Name), must("status", Word(&["started", "completed", "failed"])), may("message", Text)],
        "session, stages done",
    ),
    control(
        "session.started",
        Session,
        &[must("title", Text), may("mode", Text), may("agents", Any), may("metadata", Object)],
        "creates the session",
    ),
    latest(
        "swarm.topology",
        KeyRule::Runner,
        Session,
        &[must("topology", Text), must("agents", Any), may("edges", Any), may("positions", Any)],
        "fleet",
    ),
    control(
        "tool.completed",
        Session,
        &[must("call_id", Name), must("name", Name), may("output", Any), may("duration_ms", Kind::Number(0.0, 1e12))],
        "running tools; calls and total ms per tool",
    ),
    control(
        "tool.failed",
        Session,
        &[must("call_id", Name), must("name", Name), must("error", Text), may("duration_ms", Kind::Number(0.0, 1e12))],
        "running tools; calls and failures per tool",
    ),
    control("tool.started", Session, &[must("call_id", Name), must("name", Name), may("input", Any)], "running tools"),
    latest("typing", KeyRule::Data("user"), Project, &[must("user", Name), must("typing", Bool)], ""),
    control(
        "usage",
        Session,
        &[must("input_tokens", COUNT), must("output_tokens", COUNT), may("model", Name), may("cost_usd", MEASURE)],
        "counters",
    ),
];
