"""A program as foreign to us as llama-server: it serves OpenAI's format on the port it is given.

Paths beside the format's own make it misbehave.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHAT = "/v1/chat/completions"
_STUCK = threading.Event()
_TAKEN: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, number = self.path.partition("?")
        match path:
            case "/health" if not OPTIONS.no_health:
                self._answer(503 if OPTIONS.never_ready else 200, {"status": "ok"})
            case "/v1/models":
                self._answer(200 if self._may() else 401, {"data": [{"id": OPTIONS.alias}]})
            case "/stick":
                _STUCK.set()
                self._answer(200, {})
            case "/compute":
                threading.Thread(target=_compute, daemon=True).start()
                _STUCK.set()
                self._answer(200, {})
            case "/leave":
                self.close_connection = True
                self._answer(200, {})
                SERVER.shutdown()
            case "/take":
                _TAKEN.append(os.urandom(1000) * (int(number) // 1000))
                self._answer(200, {})
            case _:
                self._answer(404, {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            self._answer(401, {"error": {"message": "no"}})
        elif OPTIONS.only_embeddings and self.path == "/v1/embeddings":
            self._answer(200, {"data": [{"index": 0, "embedding": [0.6, 0.8]}]})
        elif self.path != _CHAT or OPTIONS.only_embeddings or asked["model"] != OPTIONS.alias:
            self._answer(404, {"error": {"message": f"there is no model {asked['model']}"}})
        else:
            while _STUCK.is_set():
                time.sleep(60)
            message = {"role": "assistant", "content": asked["messages"][-1]["content"].upper()}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self._answer(200, {"model": OPTIONS.alias, "choices": [choice], "usage": usage})

    def _may(self) -> bool:
        key = os.environ.get("SERVER_KEY")
        return key is None or self.headers["Authorization"] == f"Bearer {key}"

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _compute() -> None:
    while True:
        pass


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", default="model")
    flags = "no-health never-ready deaf worker runaway only-embeddings"
    for flag in flags.split():
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    OPTIONS = _options()
    sys.stdout.write(f"key {os.environ.get('SERVER_KEY')}\n")
    sys.stdout.flush()
    if OPTIONS.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if OPTIONS.worker or OPTIONS.runaway:
        # One that runs away has left the group.
        sleeping = "import time; time.sleep(3600)"
        subprocess.Popen([sys.executable, "-c", sleeping], start_new_session=OPTIONS.runaway)
    with ThreadingHTTPServer(("127.0.0.1", OPTIONS.port), _Handler) as SERVER:
        SERVER.serve_forever()
    time.sleep(3600)
