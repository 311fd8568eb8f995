"""The page as others reach it: from this machine only by default, and one to a port."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.end_to_end.rig import Rig
from tests.faults.watched import OK, Page

UNAVAILABLE = 69
OTHER_LOOPBACK = "127.0.0.2"


def other_addresses() -> set[str]:
    """Return addresses of this machine that are not the loopback one."""
    return {OTHER_LOOPBACK, socket.gethostbyname(socket.gethostname())} - {"127.0.0.1"}


def test_f5_the_page_is_refused_at_every_other_address_unless_its_host_is_set(
    rig: Callable[..., Rig],
) -> None:
    here, page = rig(), Page()
    engine = here.engine(page.override)
    page.wait_for()
    for address in other_addresses():
        for path in ("/metrics", "/healthz", "/readyz"):
            with pytest.raises(ConnectionRefusedError):
                page.get(path, host=address)
    engine.terminate()
    engine.ends()
    here.engine(page.override, "metrics.host=0.0.0.0")
    page.wait_for()
    assert {page.get("/healthz", host=address)[0] for address in other_addresses()} == {OK}


def test_f6_a_second_engine_on_one_metrics_port_is_refused_in_one_line(
    rig: Callable[..., Rig],
) -> None:
    here, page = rig(), Page()
    first = here.engine(page.override)
    page.wait_for()
    second = here.engine(page.override, f"source.group_id={here.topic}-2", "view=none")
    assert second.ends(UNAVAILABLE) == (
        f"botsieve: metrics.port: 127.0.0.1 port {page.port} cannot be opened: "
        "Address already in use; free it, or take another metrics.port"
    )
    assert second.output.count("\n") == 1
    page.wait_for()
    first.terminate()
    first.ends()
