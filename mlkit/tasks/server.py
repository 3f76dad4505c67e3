"""A model answers over HTTP: JSON, on this machine alone unless another address is asked for."""

import json
import socket
import threading
import time
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, MlkitError
from .predictor import Predictor

LOCAL = ("localhost", "127.0.0.1", "[::1]")
REMEMBERED = 10_000  # requests that the quantiles are of
PATIENCE = 10.0  # seconds for a request to come, and for the others when the server ends
FORM = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>mlkit</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
textarea { width: 100%; box-sizing: border-box; font: inherit }
pre { white-space: pre-wrap; border: 1px solid #8888; border-radius: 6px; padding: .8em }
</style>
<h1>TITLE</h1><p>A file, or its content below.</p>
<p><input type="file" id="file" aria-label="file"></p>
<p><textarea id="text" rows="8" aria-label="content"></textarea></p>
<p><button id="ask">Ask</button></p><pre id="answer" role="status"></pre>
<script>
document.getElementById("ask").onclick = async () => {
  const body = document.getElementById("file").files[0] || document.getElementById("text").value;
  const answer = await fetch("predict", {method: "POST", body, headers: {"Content-Type": "application/octet-stream"}});
  document.getElementById("answer").textContent = JSON.stringify(await answer.json(), null, 2);
}
</script></html>
"""


class Server(ThreadingHTTPServer):
    """`serve_forever` answers, one prediction at a time; `close` lets those that are under way come to their end.

    POST /predict takes {"rows": [[…]]}, or {"text": …} or {"sgf": …} as the model has it, or a file's content, and gives
    {"answers": […]}. GET / is a page to try it, /model says what is served, /statistics how fast, /health that it lives.
    A request may have `largest` bytes; while `most` are under way, others are told to come later (503).
    """

    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, predictor: Predictor, host: str = "127.0.0.1", port: int = 8000, largest: int = 1 << 24, most: int = 64
    ) -> None:
        if largest < 1 or most < 1:
            raise ArgumentError(f"Server: {largest} bytes and {most} requests; both are from 1")
        self.predictor, self.largest, self.host = predictor, largest, host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._lock, self._free = threading.Lock(), threading.BoundedSemaphore(most)
        self._open: set[socket.socket] = set()
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self.answered = self.refused = 0
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise ArgumentError(f"{host}:{port} cannot be listened at: {error}") from error

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def predict(self, body: bytes, is_json: bool) -> dict[str, Any]:
        """The answers to a request, timed."""
        start = time.perf_counter()
        given = _object(body) if is_json else None
        rows = self.predictor.input.rows(body, "the request") if given is None else self.predictor.input.parsed(given)
        with self._lock:
            answers = self.predictor.answers(rows)
            self._seconds.append(time.perf_counter() - start)
            self.answered += 1
        return {"answers": answers}

    def statistics(self) -> dict[str, Any]:
        """Requests so far, and milliseconds from the whole request to the whole answer: of the last 10,000 the half, 99 of 100."""
        with self._lock:
            found = np.array(self._seconds) * 1e3
        half, nearly = (round(float(q), 3) for q in np.percentile(found, [50, 99])) if len(found) else (None, None)
        return {"answered": self.answered, "refused": self.refused, "p50_ms": half, "p99_ms": nearly}

    def close(self) -> None:
        """Take no more requests, finish those that are there, and end."""
        self.shutdown()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RD)  # who waits for a further request is told that none comes
            except OSError:
                continue
        self.server_close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away at any time."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "mlkit"
    sys_version = ""
    timeout = PATIENCE
    wbufsize = 1 << 16  # head and body in one packet
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Pages and numbers."""
        if not self._welcome():
            return
        predictor = self.server.predictor
        if self.path == "/":
            title = str(predictor.model.description.get("task", "A model"))
            self._send(
                HTTPStatus.OK, FORM.replace("TITLE", "".join(c for c in title if c.isalnum())).encode(), "text/html; charset=utf-8"
            )
        elif self.path == "/health":
            self._answer(HTTPStatus.OK, {"status": "ok"})
        elif self.path == "/statistics":
            self._answer(HTTPStatus.OK, self.server.statistics())
        elif self.path == "/model":
            self._answer(HTTPStatus.OK, predictor.model.description)
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "there are /, /predict, /model, /statistics and /health"})

    def do_POST(self) -> None:
        """Predictions."""
        if not self._welcome():
            return
        if self.path != "/predict":
            self._refuse(HTTPStatus.NOT_FOUND, "requests go to /predict")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or len(length) > 18:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a request says its Content-Length")
        elif int(length) > self.server.largest:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {self.server.largest} bytes")
        elif not self.server._free.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are under way: come again later")
        else:
            try:
                self._predict(int(length))
            finally:
                self.server._free.release()

    def _predict(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            self._refuse(HTTPStatus.BAD_REQUEST, "the request ended early")
            return
        try:
            found = self.server.predict(body, self.headers.get("Content-Type", "").startswith("application/json"))
        except MlkitError as error:
            self.server.refused += 1
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except Exception as error:  # a request must not end the server
            self.server.refused += 1
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}: {error}"})
        else:
            self._answer(HTTPStatus.OK, found)

    def _welcome(self) -> bool:
        """Pages of other sites, whose names were made to point here, do not get in."""
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if self.server.host in ("127.0.0.1", "localhost", "::1") and name not in LOCAL:
            self._refuse(HTTPStatus.FORBIDDEN, "this server answers to localhost")
            return False
        return True

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """An answer before the request was read: the connection ends with it."""
        self.server.refused += 1
        self.close_connection = True
        self._answer(status, {"error": text})

    def _answer(self, status: HTTPStatus, value: Any) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what was answered is counted."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the request is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError("the request is no JSON object")
    return found
