"""The dataclasses of the config: the original job's values, and what each refuses."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import config, sink_config, source_config
from engine.errors import ConfigError
from engine.schema import NotEmpty, OneOf, Range, declarations, leaves


def limits() -> list[tuple[str, object]]:
    """Return the limit of each key that has one."""
    keys = leaves(config.AppConf, source=source_config.KafkaConf)
    return [(key, declared.limit) for key, declared in keys if declared.limit]


def of_key(key: str) -> type:
    """Return the dataclass that holds `key`."""
    kind: type = config.AppConf
    for name in key.split(".")[:-1]:
        kind = source_config.KafkaConf if name == "source" else declarations(kind)[name].kind
    return kind


def make(key: str, value: object) -> object:
    """Return the group of `key` with this one value."""
    return of_key(key)(**{key.rpartition(".")[2]: value})


def refused_by(key: str, value: object) -> str:
    with pytest.raises(ConfigError) as caught:
        make(key, value)
    assert caught.value.key == key
    return str(caught.value)


def test_defaults_are_those_of_the_original_job() -> None:
    conf = config.AppConf()
    assert isinstance(conf.source, source_config.KafkaConf)
    assert conf.source.bootstrap_servers == "localhost:9092"
    assert (conf.source.topic, conf.source.group_id) == ("bot-logs", "bot-logs-group-1")
    assert (conf.source.start, conf.source.unknown_type) == ("latest", "view")
    assert conf.source.fields == source_config.FieldsConf("unix_time", "category_id", "ip", "type")
    assert conf.batch.interval_s == 10
    assert (*conf.window.base, conf.window.delay_s) == (10, 10, 10)
    assert asdict(conf.rules.limits) == {"events": 10, "click_view_ratio": 3, "categories": 10}
    assert (conf.sink.kind, conf.sink.url) == ("redis", "redis://localhost:6379/0")
    assert (conf.sink.ttl_s, conf.sink.statistics_ttl_s) == (600, 600)
    assert asdict(conf.sink.prefix) == {
        "statistics": "stat_", "decision": "bot_", "shadow": "shadow_",
    }  # fmt: skip


def test_every_key_has_a_meaning() -> None:
    for source in (source_config.KafkaConf, source_config.FileConf):
        for key, declared in leaves(config.AppConf, source=source):
            assert declared.meaning, key


@pytest.mark.parametrize(("key", "limit"), limits(), ids=str)
def test_a_value_outside_its_limit_is_refused_with_the_limit(key: str, limit: object) -> None:
    match limit:
        case Range():
            wrong = [limit.low - 1, limit.high * 2, float("nan"), float("inf"), True, "1"]
        case OneOf():
            wrong = ["another", "", 1, *(choice.upper() for choice in limit.choices)]
        case NotEmpty():
            wrong = ["", 1, True]
    for value in wrong:
        assert str(limit) in refused_by(key, value)


@pytest.mark.parametrize(("key", "limit"), limits(), ids=str)
def test_a_value_at_its_limit_is_taken(key: str, limit: object) -> None:
    match limit:
        case Range() if key == "deploy.users":
            allowed = [200, limit.high]  # the default of user_events_per_s asks for as many
        case Range() if key in ("window.slide_s", "deploy.user_events_per_s"):
            allowed = [limit.low]
        case Range():
            allowed = [limit.low, limit.high]
        case OneOf():
            allowed = list(limit.choices)
        case NotEmpty():
            allowed = ["x"]
    name = key.rpartition(".")[2]
    is_whole = declarations(of_key(key))[name].plain is int
    for value in allowed:
        given_value = int(value) if is_whole else value
        assert getattr(make(key, given_value), name) == given_value


@given(
    st.one_of(st.none(), st.text(), st.binary(), st.booleans(), st.floats(), st.lists(st.none()))
)
def test_a_whole_number_is_nothing_else(value: object) -> None:
    refused_by("window.length_s", value)


@pytest.mark.parametrize("start", ["latest", "earliest", "0", "1700000000"])
def test_start_takes_a_position_or_a_time(start: str) -> None:
    assert source_config.KafkaConf(start=start).start == start


@pytest.mark.parametrize("start", ["", "now", "-1", "1.5", "²", "1700000000000"])
def test_start_refuses_what_is_neither(start: str) -> None:
    refused_by("source.start", start)


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h:1/2", "rediss://u@h:6380/0", "redis://[::1]:6379", "unix:///s"]
)
def test_url_takes_what_redis_clients_take(url: str) -> None:
    assert sink_config.SinkConf(url=url).url == url


@pytest.mark.parametrize("url", ["", "h:6379", "http://h", "redis://h:port", "redis://[::1"])
def test_url_refuses_the_rest_without_repeating_it(url: str) -> None:
    assert refused_by("sink.url", url).startswith("sink.url: is no Redis URL")


def test_a_config_does_not_print_where_secrets_may_be() -> None:
    sink = sink_config.SinkConf(url="redis://:hunter2@h")
    source = source_config.KafkaConf(kafka={"sasl.password": "hunter2"})
    assert "hunter2" not in repr(config.AppConf(sink=sink, source=source))


def test_rules_with_a_value_of_another_type_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"rules\.rules\[1\]\.ttl_s: true is refused"):
        config.RulesConf(rules=[config.RuleConf(), config.RuleConf(ttl_s=True)])
