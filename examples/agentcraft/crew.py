#!/usr/bin/env python3
"""A CrewAI crew that is watched: an event listener tells Tidings what its agents do.

    pip install -r examples/agentcraft/requirements.txt
    python3 examples/agentcraft/crew.py [PROJECT] [--serve]

It runs one crew and ends; with --serve it waits for commands instead: `session.create {query}` starts a crew, `session.stop` ends it behind
the task that is under way. The model is a script, so that it runs without a key; put your own `llm` into the agents, and the listener stays as it is.
"""

import argparse
import os
import pathlib
import queue
import sys
import threading
import uuid

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
# Else the first run asks whether what was said may be sent to CrewAI, and waits for an answer.
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")
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
    crewai_event_bus,
)
from crewai.llms.base_llm import BaseLLM  # noqa: E402
from tidings import Refused, Tidings, work  # noqa: E402


QUERY = "How does a cursor over a log make reconnects harmless?"


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


# Somebody wants the crew to end.
STOP = threading.Event()


class Stopped(Exception):
    """The crew has ended because somebody wanted that."""


def end_if_stopped(_output):
    if STOP.is_set():
        raise Stopped


class Listener(BaseEventListener):
    """What a crew does, as events of its session. CrewAI has one bus for all crews: one at a time is told here."""

    def __init__(self, tidings):
        self.tidings, self.session, self.query = tidings, None, None
        # What is to be told, in the order in which it happened.
        self.due = queue.Queue(1_000)
        threading.Thread(target=self.tell, daemon=True).start()
        super().__init__()

    def tell(self):
        while True:
            handler, event = self.due.get()
            try:
                handler(event)
            except Refused as refused:
                print(f"not told: {refused}")
            finally:
                self.due.task_done()

    def finish(self):
        """Waits until all is told that has happened."""
        crewai_event_bus.flush()
        self.due.join()

    def begin(self, session, query, tasks):
        self.session, self.query, self.tasks, self.done, self.last = session, query, tasks, 0, None

    def say(self, kind, /, agent=None, **data):
        self.tidings.event(kind, self.session, agent, **data)

    def log(self, level, message, kind, agent=None):
        self.say("log", agent, level=level, message=message, details={"logger": "crewai", "event_type": kind})

    def setup_listeners(self, bus):
        def on(kind):
            # The bus runs plain handlers on several threads, in no order; coroutines it begins in the order of the events.
            def register(handler):
                @bus.on(kind)
                async def _(_source, event):
                    self.due.put((handler, event))

            return register

        @on(CrewKickoffStartedEvent)
        def _(event):
            self.say("session.started", title=self.query, mode="crew")
            self.say("session.progress", phase="starting", progress=0)
            self.log("info", "The crew sets out", event.type)

        @on(AgentExecutionStartedEvent)
        def _(event):
            name, agent = event.agent.role, slug(event.agent.role)
            task = (event.task.description or "")[:200]
            self.say("agent.started", agent, name=name, role=name)
            self.say("agent.status", agent, name=name, status="processing", progress=0, task=task, message=task)
            self.log("info", f"{name} begins: {task}", event.type, agent)
            if self.last and self.last != name:
                reason = f"{self.last} is done"
                self.say("agent.collaboration", agent, primary=self.last, secondary=name, kind="handoff", reason=reason)
            self.last = name

        @on(AgentExecutionCompletedEvent)
        def _(event):
            name, agent = event.agent.role, slug(event.agent.role)
            self.say("agent.status", agent, name=name, status="completed", progress=100, message="Done")
            self.say("output", agent, content=str(event.output), kind="crew_output")
            self.log("info", f"{name} is done", event.type, agent)
            self.say("agent.finished", agent, outcome="completed")

        @on(AgentExecutionErrorEvent)
        def _(event):
            name, agent = event.agent.role, slug(event.agent.role)
            self.say("agent.status", agent, name=name, status="failed", progress=0, message=str(event.error))
            self.log("error", str(event.error), event.type, agent)

        @on(TaskCompletedEvent)
        def _(_event):
            self.done += 1
            self.say("session.progress", phase="working", progress=round(100 * self.done / self.tasks))

        @on(CrewKickoffCompletedEvent)
        def _(event):
            self.say("session.completed", result=str(event.output))

        @on(CrewKickoffFailedEvent)
        def _(event):
            if STOP.is_set():
                self.say("session.cancelled", reason="stopped")
            else:
                self.say("session.failed", error=str(event.error))


class Crews:
    """The crews of this runner, one after the other."""

    def __init__(self, tidings):
        self.listener, self.free = Listener(tidings), threading.Lock()

    def run(self, query, session):
        """Runs a crew to its end; its result, or None if it was stopped."""
        model = Script(["A cursor is a place in a log.", "So a reader goes on where it was, and misses nothing."])
        roles = [("Researcher", "find out how it works"), ("Writer", "say it in one line")]
        agents = [
            Agent(role=role, goal=goal, backstory=goal, llm=model, verbose=False, allow_delegation=False)
            for role, goal in roles
        ]
        tasks = [Task(description=query, expected_output="a line", agent=agent) for agent in agents]
        STOP.clear()
        self.listener.begin(session, query, len(tasks))
        crew = Crew(agents=agents, tasks=tasks, process=Process.sequential, verbose=False, task_callback=end_if_stopped)
        try:
            return str(crew.kickoff())
        except Stopped:
            return None
        finally:
            self.listener.finish()

    def create(self, command):
        if not self.free.acquire(blocking=False):
            return command.fail("busy", "a crew is at work")
        try:
            session = command.data.get("session") or new_session()
            result = self.run(str(command.data.get("query") or command.data.get("description") or QUERY), session)
            command.complete(session=session, result=result, stopped=result is None)
        finally:
            self.free.release()

    def stop(self, command):
        if not self.free.locked() or command.session not in (None, self.listener.session):
            return command.fail("unknown_session", "no crew is at work there")
        STOP.set()
        command.complete(session=self.listener.session)


def new_session():
    return f"session_{uuid.uuid4().hex[:12]}"


def slug(role):
    return "".join(letter if letter.isalnum() else "-" for letter in role.lower()).strip("-")[:100]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("project", nargs="?", default="agentcraft")
    arguments.add_argument("--serve", action="store_true", help="wait for commands")
    given = arguments.parse_args()
    tidings = Tidings(given.project, runner="crewai-crew")
    crews = Crews(tidings)
    if not given.serve:
        session = new_session()
        print(f"{session}: {crews.run(QUERY, session)}", flush=True)
        return
    print(f"{tidings.runner} takes session.create and session.stop of {given.project}", flush=True)
    try:
        work(tidings, {"session.create": crews.create, "session.stop": crews.stop})
    except KeyboardInterrupt:
        tidings.leave()


if __name__ == "__main__":
    main()
