"""Receives what a project's webhook is called with: checks the signature and its age, and prints the events, a line each.

    TIDINGS_WEBHOOK_SECRET=... python3 examples/webhooks/receiver.py --port 8090

Python's standard library is enough. `verify` is all that a receiver of your own needs.
"""

import argparse
import collections
import hashlib
import hmac
import http.server
import json
import os
import sys
import threading
import time

# What is older may have been recorded and sent again; as much is allowed for a clock that is behind.
AGE_MAX_S = 300

BODY_BYTES_MAX = 16 * 1024 * 1024

# A delivery may come again: its answer was lost, or whoever sent it was killed. So many ids are remembered.
REMEMBERED = 1_000


def verify(secret, header, body, now=None):
    """Whether a body was signed with this secret in the last minutes."""
    members = [member.strip().partition("=")[::2] for member in header.split(",")]
    times = [value for name, value in members if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()) or len(times[0]) > 20:
        return False
    if abs((time.time() if now is None else now) - int(times[0])) > AGE_MAX_S:
        return False
    good = hmac.new(secret.encode(), times[0].encode() + b"." + body, hashlib.sha256).hexdigest().encode()
    # compare_digest takes as long for a wrong one as for a right one.
    return any(hmac.compare_digest(good, value.encode()) for name, value in members if name == "v1")


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    secrets = ()
    seen = collections.OrderedDict()
    # Calls of one webhook come one after the other; those of several do not.
    turn = threading.Lock()

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(int(length))
        header = self.headers.get("Tidings-Signature", "")
        if not any(verify(secret, header, body) for secret in self.secrets):
            # Tidings tries again: once the secret is right nothing is missing.
            return self.answer(401)
        delivery = self.headers.get("Tidings-Delivery", "")
        with self.turn:
            if delivery not in self.seen:
                self.take(json.loads(body))
                # Remembered only when it is done: what was cut off half-way must come again.
                self.seen[delivery] = None
                while len(self.seen) > REMEMBERED:
                    self.seen.popitem(last=False)
        self.answer(204)

    def take(self, delivery):
        """What to do with a delivery: of events, or of a command."""
        for event in delivery.get("events", [delivery]):
            print(json.dumps(event), flush=True)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, text, *values):
        print(text % values, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one, which is printed")
    options = parser.parse_args()
    secret = os.environ.get("TIDINGS_WEBHOOK_SECRET")
    if not secret:
        parser.error("TIDINGS_WEBHOOK_SECRET must be set")
    Receiver.secrets = (secret,)
    server = http.server.ThreadingHTTPServer((options.host, options.port), Receiver)
    print(f"listening on http://{options.host}:{server.server_port}", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
