#!/usr/bin/env python3
"""A CrewAI crew that is watched: an event listener tells Tidings what its agents do.

    pip install -r examples/agentcraft/requirements.txt
    python3 examples/agentcraft/crew.py [PROJECT]

The model is a script, so that it runs without a key; put your own `llm` into the agents, and the listener stays as it is.
"""

import os
import pathlib
import sys
import uuid

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from crewai import Agent, Crew, Process, Task  # noqa: E402
from crewai.events import (  # noqa: E402
    AgentExecutionCompletedEvent,
    AgentExecutionErrorEvent,
    AgentExecutionStartedEvent,
    BaseEventListener,
    CrewKickoffCompletedEvent,
    CrewKickoffFailedEvent,
    CrewKickoffStartedEvent,
    TaskCompletedEvent,
)
from crewai.llms.base_llm import BaseLLM  # noqa: E402
from tidings import Tidings  # noqa: E402


class Script(BaseLLM):
    """A model that says what it was told to say, one answer after the other."""

    lines: list[str] = []
    turn: int = 0

    def __init__(self, lines):
        super().__init__(model="script")
        self.lines, self.turn = lines, 0

    def call(self, messages, *args, **kwargs):
        line = self.lines[self.turn % len(self.lines)]
        self.turn += 1
        return f"Thought: I know what to say.\nFinal Answer: {line}"

    def supports_function_calling(self):
        return False


class Listener(BaseEventListener):
    """What a crew does, as events of one session."""

    def __init__(self, tidings, query, tasks):
        self.tidings, self.query, self.tasks = tidings, query, tasks
        self.session, self.done, self.last = f"session_{uuid.uuid4().hex[:12]}", 0, None
        super().__init__()

    def say(self, kind, /, agent=None, **data):
        self.tidings.event(kind, self.session, agent, **data)

    def setup_listeners(self, bus):
        @bus.on(CrewKickoffStartedEvent)
        def _(_source, _event):
            self.say("session.started", title=self.query, mode="crew")
            self.say("session.progress", phase="starting", progress=0)

        @bus.on(AgentExecutionStartedEvent)
        def _(_source, event):
            agent = slug(event.agent.role)
            self.say("agent.started", agent, name=event.agent.role, role=event.agent.role)
            task = (event.task.description or "")[:200]
            self.say("agent.status", agent, name=event.agent.role, status="processing", progress=0, task=task)
            if self.last and self.last != agent:
                self.say("agent.collaboration", agent, primary=self.last, secondary=agent, kind="handoff")
            self.last = agent

        @bus.on(AgentExecutionCompletedEvent)
        def _(_source, event):
            agent = slug(event.agent.role)
            self.say("agent.status", agent, name=event.agent.role, status="completed", progress=100)
            self.say("output", agent, content=str(event.output), kind="crew_output")
            self.say("agent.finished", agent, outcome="completed")

        @bus.on(AgentExecutionErrorEvent)
        def _(_source, event):
            agent = slug(event.agent.role)
            self.say("agent.status", agent, name=event.agent.role, status="failed", message=str(event.error))

        @bus.on(TaskCompletedEvent)
        def _(_source, _event):
            self.done += 1
            self.say("session.progress", phase="working", progress=round(100 * self.done / self.tasks))

        @bus.on(CrewKickoffCompletedEvent)
        def _(_source, event):
            self.say("session.completed", result=str(event.output))

        @bus.on(CrewKickoffFailedEvent)
        def _(_source, event):
            self.say("session.failed", error=str(event.error))


def slug(role):
    return "".join(letter if letter.isalnum() else "-" for letter in role.lower()).strip("-")[:100]


def main():
    project = sys.argv[1] if len(sys.argv) > 1 else "agentcraft"
    query = "How does a cursor over a log make reconnects harmless?"
    model = Script(["A cursor is a place in a log.", "So a reader goes on where it was, and misses nothing."])
    roles = [("Researcher", "find out how it works"), ("Writer", "say it in one line")]
    agents = [
        Agent(role=role, goal=goal, backstory=goal, llm=model, verbose=False, allow_delegation=False)
        for role, goal in roles
    ]
    tasks = [Task(description=query, expected_output="a line", agent=agent) for agent in agents]
    listener = Listener(Tidings(project, runner="crewai-crew"), query, len(tasks))
    crew = Crew(agents=agents, tasks=tasks, process=Process.sequential, verbose=False)
    result = crew.kickoff()
    print(f"{listener.session}: {result}", flush=True)


if __name__ == "__main__":
    main()
