"""A page served to browsers on this machine, and what is new sent on to them.

    GET /         the page, made anew when the store has changed
    GET /events   what happens, as server-sent events, until either side ends it
    anything else 404; any other method 405

Rules: bound to the loopback address. Read-only: nothing that is sent is looked at but the
first line and three headers. A `Host` that is not this server's own is refused, or a name
that an attacker owns could be pointed here; so is a request that another site's page made.
Nothing is allowed to other origins. Whoever reads too slowly is let go: the browser comes
back and gets the whole page.
"""

import contextlib
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from coord.errors import Refusal

ADDRESS = "127.0.0.1"
READERS = 32
_BACKLOG = 200
_ALIVE_S = 15.0
_TIMEOUT_S = 30.0
_NEVER_KEPT = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Readers:
    """Those who wait for news, each with what it has not got yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: list[queue.Queue[bytes | None]] = []
        self._ended = False

    def tell(self, message: bytes) -> None:
        """Send to all; whoever has too much waiting is let go."""
        with self._lock:
            for waiting in list(self._queues):
                try:
                    waiting.put_nowait(message)
                except queue.Full:
                    self._let_go(waiting)

    def _let_go(self, waiting: "queue.Queue[bytes | None]") -> None:
        self._queues.remove(waiting)
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        waiting.put_nowait(None)

    def count(self) -> int:
        """How many there are."""
        return len(self._queues)

    def end(self) -> None:
        """Let everybody go; who comes now is sent away at once."""
        with self._lock:
            self._ended = True
            for waiting in list(self._queues):
                self._let_go(waiting)

    @contextlib.contextmanager
    def waiting(self) -> "Iterator[queue.Queue[bytes | None] | None]":
        """A place among them; None when all are taken."""
        mine: queue.Queue[bytes | None] = queue.Queue(_BACKLOG)
        with self._lock:
            has_room = len(self._queues) < READERS and not self._ended
            if has_room:
                self._queues.append(mine)
        try:
            yield mine if has_room else None
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._queues.remove(mine)


class Source(Protocol):
    """Where the page comes from."""

    def page(self) -> bytes:
        """The page as it is now."""

    def hello(self) -> bytes:
        """What whoever begins to listen is told first, one line."""

    def is_due(self) -> bool:
        """Whether the page has changed though nothing has happened."""


class Server(ThreadingHTTPServer):
    """The page at `/`, the news at `/events`; policy: what the page may do."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, source: Source, policy: str) -> None:
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            hint = "--port 0 takes any that is free"
            raise Refusal("busy", f"port {port} cannot be had: {error.strerror}", hint) from error
        self.source, self.policy = source, policy
        self.readers = Readers()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://{ADDRESS}:{self.port}/"

    def service_actions(self) -> None:
        """Once a second: tell when time alone has changed what is to be seen."""
        if self.readers.count() and self.source.is_due():
            self.readers.tell(message("due", b"now"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is nobody's fault; all else is a bug."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "coord"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with the page or with news."""
        if self._is_refused():
            return
        if self.path == "/":
            try:
                page = self.server.source.page()
            except Refusal as refusal:
                self._say(503, refusal.message)
                return
            self._answer(200, "text/html; charset=utf-8", page)
        elif self.path == "/events":
            self._stream()
        else:
            self._say(404, "there is only / and /events")

    do_HEAD = do_GET

    def _is_refused(self) -> bool:
        own = {f"{name}:{self.server.port}" for name in (ADDRESS, "localhost")}
        if self.headers.get_all("Host", []) not in [[name] for name in own]:
            self._say(403, "this server answers to its own address alone")
            return True
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        is_link = self.headers.get("Sec-Fetch-Mode") == "navigate" and self.path == "/"
        foreign = origin is not None and origin not in {f"http://{name}" for name in own}
        if foreign or (site not in ("none", "same-origin") and not is_link):
            self._say(403, "this server answers to its own page alone")
            return True
        return False

    def _answer(self, status: int, kind: str, data: bytes) -> None:
        self._head(status, kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        policy = f"{self.server.policy}; frame-ancestors 'none'"
        self.send_header("Content-Security-Policy", policy)
        for name, value in _NEVER_KEPT.items():
            self.send_header(name, value)

    def _say(self, status: int, text: str) -> None:
        self.close_connection = True
        self._answer(status, "text/plain; charset=utf-8", text.encode() + b"\n")

    def _stream(self) -> None:
        with self.server.readers.waiting() as news:
            if news is None:
                self._say(503, "too many readers")
                return
            self.close_connection = True
            self._head(200, "text/event-stream")
            self.end_headers()
            if self.command == "HEAD":
                return
            # Now it is told of everything, and can ask for what was before.
            with contextlib.suppress(OSError):
                self._send(b"retry: 1000\n\n" + message("hello", self.server.source.hello()))
                while (told := self._next(news)) is not None:
                    self._send(told)

    @staticmethod
    def _next(news: "queue.Queue[bytes | None]") -> bytes | None:
        try:
            return news.get(timeout=_ALIVE_S)
        except queue.Empty:
            return b": nothing new\n\n"

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no request that we know, in plain words and with the same headers."""
        self._say(405 if code == 501 else code, message or "this is no request")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is told: who looks at the page is nobody's business."""


def message(name: str, data: bytes) -> bytes:
    """One server-sent event; `data` is JSON or a word, and has no line ends."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
