#!/usr/bin/env python3
"""A chat and reasoning runner for a local model: takes `chat` and `reasoning` commands, and streams what Ollama's HTTP API says.

    python3 examples/pygent/chat.py [PROJECT]

TIDINGS_URL and TIDINGS_TOKEN say where events go; OLLAMA_URL (http://127.0.0.1:11434) and OLLAMA_MODEL which model answers.
The order of the events is that of docs/dialects.md, "What a chat runner posts".
"""

import json
import os
import pathlib
import sys
import threading
import time
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tidings import Tidings, event, work  # noqa: E402

OLLAMA = os.environ.get("OLLAMA_URL", "http://127.0.0.1:11434").rstrip("/")
MODEL = os.environ.get("OLLAMA_MODEL", "llama3.2")

# Behind the first word so much text is told at a time: a token alone is hardly worth a request.
DELTA_SECONDS = 0.1

# How a problem is thought about: so many thoughts, each built on the ones before, and then the answer.
THOUGHTS = 3
THINK = "Think about the problem one step at a time. Say the next step only, in one or two sentences."
ANSWER = "Say the answer now, in a few sentences."

# The API does not tell how sure a model is.
UNKNOWN = 0.0

FAULTS = (OSError, KeyError, RuntimeError, StopIteration, ValueError)


class Stopped(Exception):
    """Whoever asked wants no answer any more."""


def ollama(path, body=None):
    """The lines of an answer, as they come."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(OLLAMA + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        for line in answer:
            if line.strip():
                part = json.loads(line)
                if "error" in part:
                    raise RuntimeError(part["error"])
                yield part


def ask(messages, think=False):
    """The parts of what the model says: (thought, text, usage), each of them may be empty."""
    body = {"model": MODEL, "messages": messages, "stream": True}
    for part in ollama("/api/chat", {**body, "think": True} if think else body):
        message = part.get("message", {})
        yield message.get("thinking") or "", message.get("content") or "", part if part.get("done") else {}


def can_think():
    """Whether the model tells its thoughts apart from its answer."""
    try:
        return "thinking" in next(ollama("/api/show", {"model": MODEL})).get("capabilities", [])
    except FAULTS:
        return False


def text_of(command):
    message = command.data.get("message")
    inner = message.get("content") if isinstance(message, dict) else message
    return command.data.get("text") or command.data.get("content") or inner or ""


class Chat:
    """One question, one streamed answer."""

    def __init__(self, command):
        self.command = command
        self.began, self.message = time.monotonic(), f"msg_{uuid.uuid4().hex[:12]}"
        self.agent = command.agent or command.data.get("agent") or "general"
        self.session = command.session or f"chat-{command.by}"
        self.thinking, self.thoughts = "", []
        self.text, self.told, self.last, self.usage = "", 0, 0.0, {}

    def run(self):
        self.tell("typing", user="ai_agent", typing=True)
        self.tell("agent.status", status="analyzing", message="Thinking about the question")
        try:
            for thought, text, usage in ask([{"role": "user", "content": text_of(self.command)}], can_think()):
                self.think(thought)
                if text:
                    self.end_thinking()
                    self.say(text)
                self.usage = usage or self.usage
        except FAULTS as error:
            self.command.tell(event("model.error", self.session, self.agent, error=str(error)), everyone=True)
            # It tells all that a page has to know: the answer is an error, and nobody types any more.
            self.command.fail("model_error", str(error))
            return
        self.end_thinking()
        self.say("", last=True)
        metadata = {"agent": self.agent, "agent_type": self.agent, "processing_time": self.seconds(), "confidence": UNKNOWN}
        metadata["reasoning_path"] = self.thoughts
        self.tell("message.completed", message_id=self.message, role="assistant", text=self.text, metadata=metadata)
        tokens = {"input_tokens": self.usage.get("prompt_eval_count", 0), "output_tokens": self.usage.get("eval_count", 0)}
        self.tell("usage", model=MODEL, **tokens)
        self.tell("typing", user="ai_agent", typing=False)
        self.command.complete(message_id=self.message)

    def think(self, text):
        """Tells each thought once it is whole: a paragraph is one."""
        *whole, self.thinking = (self.thinking + text).split("\n\n")
        for thought in filter(None, map(str.strip, whole)):
            self.thoughts.append(thought)
            steps = len(self.thoughts)
            self.tell("reasoning.step", step=steps, total_steps=steps, content=thought, step_type="thought")

    def end_thinking(self):
        if self.thinking:
            self.think("\n\n")
        if self.thoughts and not self.text:
            measures = {"confidence": UNKNOWN, "processing_time": self.seconds(), "total_steps": len(self.thoughts), "paths_explored": 1}
            self.tell("reasoning.completed", result="", **measures)

    def say(self, text, last=False):
        self.text += text
        if len(self.text) > self.told and (last or time.monotonic() - self.last >= DELTA_SECONDS):
            self.tell("message.delta", message_id=self.message, text=self.text[self.told :])
            self.told, self.last = len(self.text), time.monotonic()

    def seconds(self):
        return time.monotonic() - self.began

    def tell(self, kind, /, **data):
        self.command.tell(event(kind, self.session, self.agent, **data))


class Reasoning:
    """A problem, thought about step by step; one at a time in each session."""

    running = {}
    lock = threading.Lock()

    def __init__(self, command):
        self.command = command
        self.session = command.session or f"reasoning-{command.by}"
        self.problem, self.mode = str(command.data.get("problem") or ""), command.data.get("mode") or "adaptive"
        self.began, self.stop, self.asked_by = time.monotonic(), threading.Event(), None

    @classmethod
    def start(cls, command):
        one = cls(command)
        with cls.lock:
            if cls.running.setdefault(one.session, one) is not one:
                return command.fail("busy", "Reasoning is under way in this session already")
        try:
            one.run()
        finally:
            one.leave()

    @classmethod
    def end(cls, command):
        with cls.lock:
            one = cls.running.get(command.session or f"reasoning-{command.by}")
            if one is not None:
                one.stop.set()
        if one is None:
            return command.fail("not_running", "No active reasoning session")
        command.complete(session=one.session)

    def leave(self):
        """Makes room for the next one: before the end is told, since who hears that may ask again at once."""
        with self.lock:
            if self.running.get(self.session) is self:
                del self.running[self.session]

    def run(self):
        self.tell("session.started", everyone=True, title=self.problem, mode="reasoning", metadata={"mode": self.mode})
        config = {"generation_strategy": "sample", "search_method": "dfs", "max_depth": THOUGHTS, "n_generate": 1}
        self.tell("reasoning.started", problem=self.problem, mode=self.mode, config=config)
        thoughts = []
        try:
            for step in range(1, THOUGHTS + 1):
                thoughts.append(self.say([*self.messages(thoughts), {"role": "user", "content": THINK}]))
                place = {"step": step, "total_steps": THOUGHTS, **({"parent": step - 1} if step > 1 else {})}
                self.tell("reasoning.step", content=thoughts[-1], step_type="thought", mode=self.mode, **place)
            result = self.say([*self.messages(thoughts), {"role": "user", "content": ANSWER}])
        except Stopped:
            self.leave()
            self.tell("reasoning.stopped", reason="user_requested")
            self.tell("session.cancelled", everyone=True, reason="user_requested")
            return self.command.complete(stopped=True)
        except FAULTS as error:
            self.leave()
            self.tell("session.failed", everyone=True, error=str(error))
            return self.command.fail("model_error", str(error))
        self.leave()
        measures = {"confidence": UNKNOWN, "processing_time": time.monotonic() - self.began}
        self.tell("reasoning.completed", result=result, total_steps=THOUGHTS, paths_explored=1, **measures)
        self.tell("session.completed", everyone=True, result=result)
        self.command.complete(result=result)

    def messages(self, thoughts):
        said = [{"role": "assistant", "content": thought} for thought in thoughts]
        return [{"role": "user", "content": self.problem}, *said]

    def say(self, messages):
        text = ""
        for _, part, _ in ask(messages):
            if self.stop.is_set():
                raise Stopped
            text += part
        return text.strip()

    def tell(self, kind, /, everyone=False, **data):
        self.command.tell(event(kind, self.session, "reasoning", **data), everyone=everyone)


def say_models(tidings):
    """Which models there are, for everybody who watches."""
    try:
        models = next(ollama("/api/tags"))["models"]
        active = next(ollama("/api/ps"))["models"]
    except FAULTS as error:
        tidings.event("model.status", is_ready=False, url=OLLAMA, error=str(error))
        return
    names = [model["name"] for model in models]
    tidings.event("model.status", is_ready=True, url=OLLAMA, available_models=names)
    tidings.event("model.list", models=models)
    tidings.event(
        "model.metrics",
        total_models=len(models),
        total_size=sum(model.get("size", 0) for model in models),
        memory_usage=sum(model.get("size_vram", 0) for model in active),
        active_models=[model["name"] for model in active],
    )


def main():
    project = sys.argv[1] if len(sys.argv) > 1 else "pygent"
    tidings = Tidings(project, runner="ollama-chat")
    say_models(tidings)
    print(f"{tidings.runner} answers chat and reasoning of {project} by {MODEL}", flush=True)
    reasoning = {"reasoning.start": Reasoning.start, "reasoning.stop": Reasoning.end}
    handlers = {"chat": lambda command: Chat(command).run(), **reasoning}
    try:
        work(tidings, handlers)
    except KeyboardInterrupt:
        tidings.leave()


if __name__ == "__main__":
    main()
