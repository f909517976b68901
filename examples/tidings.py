"""What a runner needs of Tidings, over plain HTTP: post events, take commands, answer them.

Python's standard library is enough. Events are posted under ids of their own, so that sending them again is harmless; a
command is answered under the lease that it was taken with.
"""

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

RETRYABLE = {408, 429, 502, 503, 504}

# No answer, or one that broke off.
BROKEN = (OSError, http.client.HTTPException)


class Refused(Exception):
    """The server says no, and would again."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.code = problem.get("code")


class Tidings:
    """One project on one server."""

    def __init__(self, project, url=None, token=None, runner=None):
        self.project = project
        self.url = (url or os.environ.get("TIDINGS_URL", "http://127.0.0.1:8000")).rstrip("/")
        self.token = token or os.environ.get("TIDINGS_TOKEN")
        self.runner = runner or f"example-{os.getpid()}"

    def post(self, *events):
        """Posts events in this order, each once, however long the server is away."""
        self._post("events", events, {})

    def event(self, kind, /, session=None, agent=None, **data):
        """Makes an event and posts it."""
        self.post(event(kind, session, agent, runner=self.runner, **data))

    def commands(self, *capabilities, stop=None):
        """Yields commands as they come, until `stop` (an Event) is set."""
        while stop is None or not stop.is_set():
            query = [("runner", self.runner), ("wait", 20), ("limit", 1)]
            query += [("capability", capability) for capability in capabilities]
            answer = self._request("GET", f"commands?{urllib.parse.urlencode(query)}", None, timeout=40)
            for command in answer["commands"]:
                yield Command(self, command)

    def approval(self, approval_id, session, timeout=300):
        """Waits for an approval of a session to be resolved, and returns its decision; None: nobody decided in time."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            query = urllib.parse.urlencode({"session": session, "wait": 20})
            path = f"approvals/{urllib.parse.quote(approval_id, safe='')}?{query}"
            answer = self._request("GET", path, None, timeout=40)
            if answer["status"] == "resolved":
                return answer["decision"]
        return None

    def leave(self):
        """Says that this runner takes no more commands."""
        try:
            self._request("DELETE", f"runners/{urllib.parse.quote(self.runner, safe='')}", None, attempts=1)
        except (Refused, *BROKEN):
            pass

    def _post(self, path, events, query):
        for one in events:
            one.setdefault("id", uuid.uuid4().hex)
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._request("POST", path + suffix, list(events))

    def _request(self, method, path, body, timeout=20, attempts=None):
        url = f"{self.url}/v1/projects/{self.project}/{path}"
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        attempt = 0
        while True:
            attempt += 1
            request = urllib.request.Request(url, data, headers, method=method)
            pause = min(15.0, 0.3 * 2 ** min(attempt, 6)) * random.uniform(0.5, 1)
            try:
                with urllib.request.urlopen(request, timeout=timeout) as answer:
                    return json.loads(answer.read() or b"{}")
            except urllib.error.HTTPError as error:
                try:
                    problem = json.loads(error.read() or b"{}")
                except (ValueError, *BROKEN):
                    problem = {}
                if error.code not in RETRYABLE or attempt == attempts:
                    raise Refused(error.code, problem) from None
                pause = max(pause, float(error.headers.get("retry-after") or 0))
            except BROKEN:
                if attempt == attempts:
                    raise
            time.sleep(pause)


def event(kind, /, session=None, agent=None, runner=None, **data):
    """An event as it is posted."""
    whole = {"type": kind, "session": session, "agent": agent, "runner": runner, "data": data}
    return {name: value for name, value in whole.items() if value is not None}


class Command:
    """A command that this runner holds."""

    def __init__(self, tidings, command):
        self.tidings = tidings
        self.id = command["id"]
        self.kind = command["type"]
        self.session = command.get("session")
        self.agent = command.get("agent")
        self.data = command.get("data") or {}
        self.by = command.get("by")
        self.lease = command["lease"]

    def accept(self):
        """Says that it is being worked on."""
        self.tell(event("command.accepted"))

    def tell(self, *events, everyone=False):
        """Tells events to who asked, or to everybody who watches."""
        path = f"commands/{urllib.parse.quote(self.id, safe='')}/events"
        query = {"runner": self.tidings.runner, "lease": self.lease}
        self.tidings._post(path, events, {**query, "to": "everyone"} if everyone else query)

    def complete(self, **result):
        """The final answer: it is done."""
        self.tell(event("command.completed", result=result))

    def fail(self, code, error):
        """The final answer: it is not."""
        self.tell(event("command.failed", code=code, error=error))


def work(tidings, handlers, stop=None):
    """Takes commands and calls the handler of each one's type; what a handler raises is the command's failure."""
    capabilities = sorted({kind.split(".")[0] for kind in handlers})
    for command in tidings.commands(*capabilities, stop=stop):
        threading.Thread(target=_handle, args=(handlers, command), daemon=True).start()


def _handle(handlers, command):
    handler = handlers.get(command.kind)
    try:
        command.accept()
        if handler is None:
            command.fail("unknown_command", f"this runner does not know {command.kind}")
        else:
            handler(command)
    except Refused as refused:
        print(f"{command.id}: {refused}")
    except Exception as error:  # whatever it was: the asker is told
        try:
            command.fail("failed", f"{type(error).__name__}: {error}")
        except Refused as refused:
            print(f"{command.id}: {refused}")
