"""The breaker and the dry run on real services: what is held, what is written, what is said."""

from __future__ import annotations

from collections.abc import Callable

from tests.end_to_end.judged import writes_in
from tests.end_to_end.logs import IP, burst, event, window_ago
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.services.monitor import MonitorRecorder

N_ADDRESSES = 30
LIMIT = "guard.max_flagged_share=0.3"
AT_THE_CLOSE = 6
"""So many clicks without a view are too many for a rule that decides only at the close."""


def window(start_s: int, *, n_bots: int) -> list[bytes]:
    """Return the events of a window: some addresses click and never look, the others look once."""
    names = [f"198.18.0.{n}" for n in range(1, N_ADDRESSES + 1)]
    bots = [row for ip in names[:n_bots] for row in burst(start_s, ip, n=AT_THE_CLOSE)]
    return [*bots, *(event(start_s, ip) for ip in names[n_bots:])]


def test_breaker_trips_on_a_window_that_flags_too_many_and_recovers(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(), window_ago(120)
    shares = (2, 25, 20, 5)
    for number, n_bots in enumerate(shares):
        here.produce(0, window(start_s + 10 * number, n_bots=n_bots))
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(TO_THE_END, LIMIT)
        engine.ends()
    writes = list(writes_in(recorder.commands))
    decided = {number: set[str]() for number in range(len(shares))}
    for write in writes:
        if write.kind != "stat_":
            decided[(write.window[0] - start_s) // 10].add(write.ip)
    assert {number: len(names) for number, names in decided.items()} == {0: 2, 1: 0, 2: 0, 3: 5}
    assert {write.ip for write in writes if write.kind == "stat_"} == {
        f"198.18.0.{n}" for n in range(1, N_ADDRESSES + 1)
    }
    summary = engine.summary
    assert (summary["guard_tripped"], summary["windows"], summary["verdicts"]) == (2, 4, 120)
    assert (summary["flagged"], summary["addresses_flagged"]) == (7, 5)
    assert engine.stderr.count("guard.max_flagged_share: ") == 2
    alarm = (
        f"ERROR guard.max_flagged_share: 23 of 30 addresses (0.767) of the window {start_s + 10}"
    )
    assert f"{alarm} to {start_s + 20} are newly flagged, over the limit 0.3: " in engine.stderr
    assert "under the limit 0.3: decisions are written again" in engine.stderr


def test_breaker_holds_early_decisions_until_a_window_is_under_the_limit(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(), window_ago(120)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(LIMIT, OFTEN, "window.delay_s=0")
        here.produce(0, window(start_s, n_bots=25))
        here.produce(0, window(start_s + 10, n_bots=0))
        engine.wait_for("over the limit 0.3")
        here.produce(0, burst(start_s + 10, IP))
        here.produce(0, [event(start_s + 20, IP)])
        engine.wait_for("decisions are written again")
        here.produce(0, burst(start_s + 20, "192.0.2.2"))
        here.wait_for_key("bot_192.0.2.2")
        engine.terminate()
        engine.ends()
    decisions = [write for write in writes_in(recorder.commands) if write.kind == "bot_"]
    assert [(write.ip, write.final) for write in decisions] == [(IP, True), ("192.0.2.2", False)]
    assert engine.summary["addresses_flagged"] == 2


def test_small_window_is_not_judged(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, burst(start_s))
    engine = here.engine(TO_THE_END, "guard.max_flagged_share=0.0001")
    engine.ends()
    assert here.get(f"bot_{IP}") is not None
    assert engine.summary["guard_tripped"] == 0


def test_dry_run_writes_statistics_only_and_still_says_whom_it_would_flag(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, burst(start_s))
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(TO_THE_END, "sink.decisions=none")
        engine.ends()
    assert [write.kind for write in writes_in(recorder.commands)] == ["stat_"]
    with here.client() as client:
        assert client.keys() == [f"stat_{IP}".encode()]
    assert (engine.summary["flagged"], engine.summary["addresses_flagged"]) == (1, 1)
    assert "This was a dry run (sink.decisions=none): no decision was written." in engine.stderr
