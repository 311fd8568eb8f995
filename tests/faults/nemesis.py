"""What goes wrong while traffic flows: each nemesis does its harm and ends it again.

After each the time is taken until a new bot is a readable key: a probe that runs through the whole
pipeline, and is a part of the log that the model judges.
"""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.rig import OFTEN, Rig
from tests.faults.live_traffic import LiveTraffic
from tests.services.process import LOOPBACK, free_port, outlast
from tests.services.proxy import Proxy

OUTAGE_S = (1.0, 5.0)
RECOVERY_S = 60.0
N_PROBE = 12
"""Events of a probe: more than a person makes in a window."""


@dataclass
class Scene:
    """What the nemeses work on; the engine reaches Redis through the proxy."""

    here: Rig
    traffic: LiveTraffic
    proxy: Proxy
    overrides: tuple[str, ...]
    chance: random.Random
    recovery_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    n_probes: int = 0

    @property
    def engine(self) -> EngineProcess:
        """The engine that runs."""
        return self.here.engines[-1]

    def start(self) -> None:
        """Start an engine, as a supervisor does."""
        url = f"sink.url='redis://{self.proxy.address}/0?socket_timeout=1'"
        self.here.engine(OFTEN, url, *self.overrides)

    def outage(self) -> None:
        """Let an outage last."""
        outlast(self.chance.uniform(*OUTAGE_S))

    def recover(self, name: str) -> None:
        """Take the time until a new bot is found."""
        begun_s, ip = time.monotonic(), f"198.51.{self.n_probes >> 8}.{self.n_probes & 255}"
        self.n_probes += 1
        while self.here.get(f"bot_{ip}") is None:
            assert self.engine.is_running, self.engine.output
            assert time.monotonic() - begun_s < RECOVERY_S, f"no recovery from {name}"
            self.traffic.produce(ip, n=N_PROBE, partition=self.n_probes % 2)
            outlast(0.2)
        self.recovery_s[name].append(time.monotonic() - begun_s)


def engine_killed(scene: Scene) -> None:
    """Kill -9, and a supervisor that starts it again."""
    scene.engine.kill()
    scene.start()


def engine_ended(scene: Scene) -> None:
    """SIGTERM, and a supervisor that starts it again."""
    scene.engine.terminate()
    scene.engine.ends()
    scene.start()


def engine_frozen(scene: Scene) -> None:
    """SIGSTOP for seconds."""
    scene.engine.process.send_signal(signal.SIGSTOP)
    scene.outage()
    scene.engine.process.send_signal(signal.SIGCONT)


def broker_restarted(scene: Scene) -> None:
    """Kill -9, and back on the same folder."""
    scene.here.kafka.restart()


def broker_frozen(scene: Scene) -> None:
    """SIGSTOP for seconds."""
    scene.here.kafka.stop()
    scene.outage()
    scene.here.kafka.cont()


def redis_frozen(scene: Scene) -> None:
    """SIGSTOP for seconds: what it has received, it runs when it goes on."""
    scene.here.valkey.stop()
    scene.outage()
    scene.here.valkey.cont()


def redis_full(scene: Scene) -> None:
    """No memory for seconds."""
    with scene.here.client() as client:
        client.config_set("maxmemory", 1)
        scene.outage()
        client.config_set("maxmemory", 0)


def redis_read_only(scene: Scene) -> None:
    """A replica for seconds, of a server that is not there."""
    with scene.here.client() as client:
        client.replicaof(LOOPBACK, str(free_port()))
        scene.outage()
        client.replicaof("NO", "ONE")


def line_cut(scene: Scene) -> None:
    """The line to Redis breaks, after some of the replies."""
    scene.proxy.replies.cut_after_bytes = scene.chance.randrange(10_000)


def line_down(scene: Scene) -> None:
    """No line to Redis for seconds."""
    scene.proxy.refuse()
    scene.outage()
    scene.proxy.refuse(refusing=False)


NEMESES: tuple[Callable[[Scene], None], ...] = (
    engine_killed,
    engine_ended,
    engine_frozen,
    broker_restarted,
    broker_frozen,
    redis_frozen,
    redis_full,
    redis_read_only,
    line_cut,
    line_down,
)
