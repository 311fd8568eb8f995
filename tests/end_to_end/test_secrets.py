"""Secrets stay where they are: planted ones are in no log, summary, traceback, or command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ALICE, PASSWORD
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import IP, burst, window_ago
from tests.end_to_end.rig import OFTEN, Rig
from tests.services.kafka import ROOT, KafkaBroker
from tests.services.valkey import ValkeyServer

FROM_FILE, FROM_ENV, IN_URL = "planted-file-secret", "planted-env-secret", "planted-url-secret"
SASL_SECRET = "planted-sasl-secret"
SECRETS = (FROM_FILE, FROM_ENV, IN_URL, SASL_SECRET, PASSWORD)
AUTH, BUG, CONFIG = 77, 70, 78
WITH_A_BUG = """
import sys, engine.assembly, engine.__main__
def servers_of(conf, *, new_watch):
    raise RuntimeError("a bug where the secret is at hand")
engine.assembly.servers_of = servers_of
sys.exit(engine.__main__.main())
"""


def found_in(folder: Path) -> list[str]:
    """Return where a file below the folder holds a secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        f"{path.name}: {secret}"
        for path in files
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """What the engines of this test take for the folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def command_line(engine: EngineProcess) -> str:
    """Return what everyone on this host can read of a process."""
    return Path(f"/proc/{engine.process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_f3_no_secret_is_in_any_output_of_a_run(
    rig: Callable[..., Rig],
    new_valkey: Callable[..., ValkeyServer],
    kafka: KafkaBroker,
    tmp_path: Path,
    temporary: Path,
) -> None:
    server = new_valkey(
        arguments=("--requirepass", FROM_FILE), client_settings={"password": FROM_FILE}
    )
    here, start_s = rig(valkey=server), window_ago(60)
    here.produce(0, burst(start_s))
    password_file = tmp_path.parent / f"{tmp_path.name}-password"
    password_file.write_text(f"{FROM_FILE}\n")
    tmp = str(temporary)
    sasl = [
        f"source.bootstrap_servers={kafka.sasl_bootstrap}",
        "source.kafka.security.protocol=SASL_PLAINTEXT",
        "source.kafka.sasl.mechanism=PLAIN",
        f"source.kafka.sasl.username={ALICE}",
        "source.kafka.sasl.password=${oc.env:SASL_PASSWORD}",
    ]
    live = here.engine(OFTEN, f"sink.password_file={password_file}", TMPDIR=tmp)
    url = f"sink.url=redis://:${{oc.env:IN_URL}}@127.0.0.1:{server.port}/0"
    refused = [
        here.engine("source.group_id=env", REDIS_PASSWORD=FROM_ENV, TMPDIR=tmp),
        here.engine("source.group_id=url", url, IN_URL=IN_URL, TMPDIR=tmp),
        here.engine(*sasl, "source.group_id=wrong", SASL_PASSWORD=SASL_SECRET, TMPDIR=tmp),
        here.engine(*sasl, "source.group_id=right", SASL_PASSWORD=PASSWORD, TMPDIR=tmp),
    ]
    here.wait_for_key(f"bot_{IP}")
    shown = command_line(live)
    assert "sink.password_file" in shown
    assert not [secret for secret in SECRETS if secret in shown]
    live.terminate()
    live.ends()
    for engine in refused:
        engine.ends(AUTH)
    assert found_in(tmp_path) == []


def test_f3_no_secret_is_in_the_traceback_of_a_bug_or_in_a_refusal(
    tmp_path: Path, temporary: Path, new_engine: Callable[..., EngineProcess]
) -> None:
    env = {"REDIS_PASSWORD": FROM_ENV, "SASL": SASL_SECRET, "URL": IN_URL, "TMPDIR": str(temporary)}
    words = ["source.kafka.sasl.password=${oc.env:SASL}", "sink.url=redis://:${oc.env:URL}@h/0"]
    ended = subprocess.run(
        [sys.executable, "-c", WITH_A_BUG, *words],
        cwd=ROOT,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == BUG
    (report,) = temporary.glob("botsieve-bug-*")
    assert "a bug where the secret is at hand" in report.read_text()
    (tmp_path / "output").write_text(ended.stdout + ended.stderr)
    bad_url = "sink.url='redis://:${oc.env:URL}@h/0?socket_timeout=soon'"
    new_engine(bad_url, **{"env": env}).ends(CONFIG)
    assert found_in(tmp_path) == []
