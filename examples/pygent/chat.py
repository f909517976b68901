#!/usr/bin/env python3
"""A chat runner for a local model: takes `chat` commands and streams the answers of Ollama's HTTP API.

    python3 examples/pygent/chat.py [PROJECT]

TIDINGS_URL and TIDINGS_TOKEN say where events go; OLLAMA_URL (http://127.0.0.1:11434) and OLLAMA_MODEL which model answers.
"""

import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from tidings import Tidings, event, work  # noqa: E402

OLLAMA = os.environ.get("OLLAMA_URL", "http://127.0.0.1:11434").rstrip("/")
MODEL = os.environ.get("OLLAMA_MODEL", "llama3.2")

# Behind the first word so much text is told at a time: a token alone is hardly worth a request.
DELTA_SECONDS = 0.1


def ollama(path, body=None):
    """The lines of an answer, as they come."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(OLLAMA + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        for line in answer:
            if line.strip():
                yield json.loads(line)


def text_of(command):
    message = command.data.get("message")
    inner = message.get("content") if isinstance(message, dict) else message
    return command.data.get("text") or command.data.get("content") or inner or ""


def chat(command):
    """One question, one streamed answer."""
    began, message = time.monotonic(), f"msg_{uuid.uuid4().hex[:12]}"
    agent = command.agent or command.data.get("agent") or "chat"
    session = command.session or f"chat-{command.by}"

    def tell(kind, /, **data):
        command.tell(event(kind, session, agent, **data))

    tell("typing", user="ai_agent", typing=True)
    text, told, usage = "", 0, {}
    try:
        body = {"model": MODEL, "messages": [{"role": "user", "content": text_of(command)}], "stream": True}
        last = 0.0
        for part in ollama("/api/chat", body):
            if "error" in part:
                raise RuntimeError(part["error"])
            text += part.get("message", {}).get("content", "")
            if part.get("done"):
                usage = part
            if len(text) > told and (part.get("done") or time.monotonic() - last >= DELTA_SECONDS):
                tell("message.delta", message_id=message, text=text[told:])
                told, last = len(text), time.monotonic()
    except (OSError, RuntimeError, ValueError) as error:
        tell("model.error", error=str(error))
        tell("typing", user="ai_agent", typing=False)
        command.fail("model_error", str(error))
        return
    metadata = {"agent_type": agent, "processing_time": time.monotonic() - began, "confidence": 1.0}
    tell("message.completed", message_id=message, role="assistant", text=text, metadata=metadata)
    tokens = {"input_tokens": usage.get("prompt_eval_count", 0), "output_tokens": usage.get("eval_count", 0)}
    tell("usage", model=MODEL, **tokens)
    tell("typing", user="ai_agent", typing=False)
    command.complete(message_id=message)


def say_models(tidings):
    """Which models there are, for everybody who watches."""
    try:
        models = next(ollama("/api/tags"))["models"]
    except (urllib.error.URLError, OSError, KeyError, StopIteration, ValueError) as error:
        tidings.event("model.status", is_ready=False, url=OLLAMA, error=str(error))
        return
    names = [model["name"] for model in models]
    tidings.event("model.status", is_ready=True, url=OLLAMA, available_models=names)
    tidings.event("model.list", models=models)


def main():
    project = sys.argv[1] if len(sys.argv) > 1 else "pygent"
    tidings = Tidings(project, runner="ollama-chat")
    say_models(tidings)
    print(f"{tidings.runner} answers chat of {project} by {MODEL}", flush=True)
    try:
        work(tidings, {"chat": chat})
    except KeyboardInterrupt:
        tidings.leave()


if __name__ == "__main__":
    main()
