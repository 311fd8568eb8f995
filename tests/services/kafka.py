"""One node of a real Apache Kafka (KRaft), from the jars that `make services` fetched.

`kill` and `restart` work on the same folder and port: nothing that was acknowledged is lost.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from tests.services.kafka_client import KafkaClient
from tests.services.kafka_node import NODE, SCRAM, TLS_HOST, Seat, access, new_cluster_id
from tests.services.process import LOOPBACK, ServiceProcess, free_port

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".services" / "kafka" / "libs"
JARS_COMPLETE = JARS / "complete.stamp"
JVM_OPTIONS = ("-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG_LEVEL = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


class KafkaBroker(ServiceProcess, KafkaClient):
    """A Kafka node; `users` (name: password) adds a SASL listener behind ACLs.

    It is PLAIN over plain TCP, or with `keystore` (PEM: key and certificates) SCRAM over TLS.
    `proxy_port` adds a listener at `proxied_port` whose clients are sent to that port, where a
    proxy waits for them. `seat` makes it one of several nodes.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        users: Mapping[str, str] | None = None,
        proxy_port: int | None = None,
        keystore: Path | None = None,
        properties: Mapping[str, object] | None = None,
        seat: Seat | None = None,
        jvm_options: Iterable[str] = JVM_OPTIONS,
    ) -> None:
        """Choose the ports; `properties` go over the node's own."""
        ServiceProcess.__init__(self, folder, port)
        KafkaClient.__init__(self, f"{LOOPBACK}:{self.port}")
        sasl_host = LOOPBACK if keystore is None else TLS_HOST
        self.sasl_bootstrap = f"{sasl_host}:{free_port()}" if users else ""
        self._users, self._keystore = dict(users or {}), keystore
        self.proxied_port = free_port()
        self._proxy = f"{LOOPBACK}:{proxy_port}" if proxy_port else ""
        self._seat = seat or Seat(1, {1: f"{LOOPBACK}:{free_port()}"}, new_cluster_id())
        self._jvm_options = tuple(jvm_options)
        self._config_path = folder / "server.properties"
        rights = access(self._users, keystore) if users else {}
        settings = NODE | self._addresses() | rights | dict(properties or {})
        self._config_path.write_text("".join(f"{key}={settings[key]}\n" for key in settings))

    def argv(self) -> list[str]:
        """The node itself."""
        return self._java("kafka.Kafka", str(self._config_path))

    def launch(self) -> Self:
        """Format the folder if it is new, and start the process."""
        self._producers.clear()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        return super().launch()

    def is_ready(self) -> bool:
        """The node lists its topics, and each partition has a leader."""
        return self.has_leaders()

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *self._jvm_options, LOG_LEVEL, "-cp", f"{JARS}/*", *arguments]

    def _format(self) -> None:
        # With "=": an id may begin with a dash.
        storage_tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={self._seat.cluster_id}",
        ]
        if self._keystore is not None:
            for name, password in self._users.items():
                storage_tool += ["--add-scram", f"{SCRAM}=[name={name},password={password}]"]
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                self._java(*storage_tool, "-c", str(self._config_path)),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if done.returncode:
            raise RuntimeError(self._failure("the folder could not be formatted"))

    def _addresses(self) -> dict[str, object]:
        public = f"PLAINTEXT://{self.bootstrap}"
        if self.sasl_bootstrap:
            public += f",{'TLS' if self._keystore else 'SASL'}://{self.sasl_bootstrap}"
        behind = f",PROXIED://{LOOPBACK}:{self.proxied_port}" if self._proxy else ""
        return {
            "listeners": f"{public}{behind},CONTROLLER://{self._seat.controller}",
            "advertised.listeners": f"{public},PROXIED://{self._proxy}" if self._proxy else public,
            "log.dirs": self.folder / "data",
            **self._seat.properties(),
        }
