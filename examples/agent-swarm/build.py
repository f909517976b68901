#!/usr/bin/env python3
"""A staged build by five agents: takes `session.create` (orchestrate), `session.stop` and `session.restart`, and tells each
stage, its agents and its log lines as it goes.

    python3 examples/agent-swarm/build.py [PROJECT] [--seconds-per-stage 1]
"""

import argparse
import pathlib
import sys
import threading
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tidings import Tidings, work  # noqa: E402

STAGES = {
    "initialization": "architect",
    "requirements_analysis": "architect",
    "architecture_design": "architect",
    "frontend_development": "frontend_developer",
    "backend_development": "backend_developer",
    "integration": "backend_developer",
    "security_scanning": "qa_engineer",
    "testing": "qa_engineer",
    "deployment_setup": "devops_engineer",
    "validation": "qa_engineer",
    "completion": "devops_engineer",
}
AGENTS = sorted(set(STAGES.values()))


class Build:
    """One build, in a session of its own."""

    def __init__(self, tidings, description, pace, session=None):
        self.tidings, self.description, self.pace = tidings, description, pace
        self.session = session or f"build-{uuid.uuid4().hex[:8]}"
        self.stopped = threading.Event()

    def say(self, kind, /, agent=None, **data):
        self.tidings.event(kind, self.session, agent, **data)

    def run(self):
        self.say("session.started", title=self.description, agents=AGENTS)
        for agent in AGENTS:
            self.say("agent.started", agent, name=agent, role=agent)
        for done, (stage, agent) in enumerate(STAGES.items()):
            self.say("session.stage", stage=stage, status="started", message=f"{agent} begins {stage}")
            self.say("agent.status", agent, status="working", progress=0, task=stage)
            self.say("log", agent, level="info", emoji="🔧", message=f"{stage} begun", source=agent)
            if self.stopped.wait(self.pace):
                self.say("session.cancelled", reason="stopped by a viewer")
                return
            self.say("agent.status", agent, status="completed", progress=100, task=stage)
            self.say("session.stage", stage=stage, status="completed", message=f"{stage} done")
            self.say("log", agent, level="success", emoji="✅", message=f"{stage} done", source=agent)
            progress = round(100 * (done + 1) / len(STAGES))
            self.say("session.progress", progress=progress, stage=stage, message=f"{progress}% built")
        site = f"https://{self.session}.example.com"
        self.say("session.completed", url=site, completion_url=f"{site}/done", deployment_url=site)


class Builder:
    """All builds of this runner."""

    def __init__(self, tidings, pace):
        self.tidings, self.pace, self.builds = tidings, pace, {}

    def start(self, description, pace=None, session=None):
        build = Build(self.tidings, description, self.pace if pace is None else pace, session)
        self.builds[build.session] = build
        threading.Thread(target=build.run, daemon=True).start()
        return build.session

    def create(self, command):
        # Who orchestrates names the session, to watch it from the first event on.
        data = command.data
        pace = float(data.get("seconds_per_stage", self.pace))
        session = self.start(data.get("description") or "a build", pace, data.get("session"))
        command.complete(session=session)

    def stop(self, command):
        build = self.builds.get(command.session) or next(reversed(self.builds.values()), None)
        if build is None:
            command.fail("unknown_session", "this runner builds nothing")
        else:
            build.stopped.set()
            command.complete(session=build.session)

    def restart(self, command):
        build = self.builds.get(command.session) or next(reversed(self.builds.values()), None)
        if build is None:
            command.fail("unknown_session", "this runner built nothing")
        else:
            build.stopped.set()
            command.complete(session=self.start(build.description))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("project", nargs="?", default="swarm")
    arguments.add_argument("--seconds-per-stage", type=float, default=1.0)
    arguments.add_argument("--build", metavar="DESCRIPTION", help="begin with this build")
    given = arguments.parse_args()
    tidings = Tidings(given.project, runner="swarm-builder")
    builder = Builder(tidings, given.seconds_per_stage)
    if given.build:
        builder.start(given.build)
    print(f"{tidings.runner} builds for {given.project}", flush=True)
    handlers = {"session.create": builder.create, "session.stop": builder.stop, "session.restart": builder.restart}
    try:
        work(tidings, handlers)
    except KeyboardInterrupt:
        tidings.leave()


if __name__ == "__main__":
    main()
