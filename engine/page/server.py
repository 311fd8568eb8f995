"""`/metrics`, `/healthz` and `/readyz`: a page that only reads, in threads of its own.

alive  the loop that reads the topic goes round: a supervisor may restart what is not
ready  the whole topic is read and Redis answers; else a word a line says what is missing
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socket import AF_INET6
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

from engine.config import MetricsConf
from engine.errors import UnavailableError
from engine.metrics import Metrics
from engine.page.families import RunCollector

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ALIVE_S = 30.0  # a silent broker may hold up an assignment for 25 s, a request after the other
REQUEST_S = 5.0
POLL_S = 0.1
OK, NOT_FOUND, UNAVAILABLE = "200 OK", "404 Not Found", "503 Service Unavailable"


def silent_for_s(metrics: Metrics) -> float:
    """Return how long the source has not been served."""
    return time.monotonic() - metrics.standing.served_s


def missing(metrics: Metrics) -> list[str]:
    """Return what the engine waits for: broker, topic or partitions; redis; paused."""
    standing = metrics.standing
    words = {
        standing.missing: bool(standing.missing),
        "redis": not metrics.sink_ready,
        "paused": standing.is_paused,
    }
    return [word for word, is_missing in words.items() if is_missing]


def application(metrics: Metrics) -> WSGIApplication:
    """Return the page of a run."""
    registry = CollectorRegistry()
    registry.register(RunCollector(metrics))
    ProcessCollector(registry=registry)
    exposition = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                page: Iterable[bytes] = exposition(environ, start_response)
                return page
            case "/healthz":
                silent = silent_for_s(metrics) > ALIVE_S
                return said(start_response, UNAVAILABLE if silent else OK, ["silent"] * silent)
            case "/readyz":
                words = missing(metrics)
                return said(start_response, UNAVAILABLE if words else OK, words)
        return said(start_response, NOT_FOUND, ["/metrics", "/healthz", "/readyz"])

    return answer


def said(start_response: StartResponse, status: str, words: list[str]) -> list[bytes]:
    """Answer with a word a line, `ok` where there is nothing to say."""
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(f"{word}\n" for word in words or ["ok"]).encode()]


class Handler(WSGIRequestHandler):
    """Logs nothing, and gives up a client that says nothing."""

    timeout = REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Log nothing: a page is asked for every few seconds."""


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, so that a slow client holds up no other."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client go that broke off: nothing of it belongs on the terminal."""


class Server6(Server):
    """The same on an IPv6 address."""

    address_family = AF_INET6


@contextmanager
def page(conf: MetricsConf, metrics: Metrics) -> Iterator[None]:
    """Serve the page for the time of the block."""
    with listening(conf, application(metrics)) as server:
        thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name="page", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


def listening(conf: MetricsConf, application: WSGIApplication) -> WSGIServer:
    """Return a server that listens already; raise UnavailableError where it cannot."""
    kind = Server6 if ":" in conf.host else Server
    try:
        return make_server(conf.host, conf.port, application, kind, handler_class=Handler)
    except OSError as error:
        problem = (
            f"metrics.port: {conf.host} port {conf.port} cannot be opened: {error.strerror}; "
            "free it, or take another metrics.port"
        )
        raise UnavailableError(problem) from None
