"""Composing the config: layers, every refusal word for word, secrets, no traces."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import AppConf, RuleConf
from engine.errors import ConfigError
from engine.paths import bundled
from engine.schema import leaves
from engine.settings.compose import compose, help_text, mask
from engine.settings.overrides import flatten
from engine.settings.presets import CHOSEN_BY_GROUP, GROUPS, options, preset
from engine.settings.presets import composed as composed_once
from engine.settings.yaml_file import parse
from engine.source_config import FileConf, KafkaConf, SourceConf

INVALID = Path(__file__).parent / "cases" / "invalid"
SECRET = "hunter2"
RULES = """
limits: {events: 20, categories: 7}
rules:
  - name: busy
    description: More than a person does.
    when: events > ${rules.limits.events} and categories > ${rules.limits.categories}
"""
KEYS = [key for key, _ in leaves(AppConf, source=KafkaConf)]
ODD_TEXT = st.text(st.sampled_from("a1.,:=+~-_@/{}[]()'\"\\$ \n\x00\x1bé💥<>!&*#?|"), max_size=20)
FEW = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def composed(*argv: str, **environ: str) -> AppConf:
    return compose(argv, environ=environ)


def refused(*argv: str, **environ: str) -> str:
    """Return the one line with which these overrides are refused."""
    with pytest.raises(ConfigError) as caught:
        composed(*argv, **environ)
    message = str(caught.value)
    assert message.isprintable()
    assert SECRET not in message
    return message


def kafka_of(conf: AppConf) -> KafkaConf:
    assert isinstance(conf.source, KafkaConf)
    return conf.source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Layers


MAPPINGS = {"source.kafka", "spark.properties", "sweep.values"}
NOT_TYPED = ("source.path=", *(f"{key}." for key in MAPPINGS))


def test_nothing_said_gives_the_defaults_of_the_dataclasses() -> None:
    conf, plain = asdict(composed()), asdict(AppConf())
    assert [rule["name"] for rule in conf["rules"].pop("rules")] == [
        "click_rate", "event_rate", "click_view_rate",
        "minute_rate", "categories_rate", "click_share", "tireless",
    ]  # fmt: skip
    del plain["rules"]["rules"]
    assert conf == plain


@pytest.mark.parametrize(("option", "kind"), [("kafka", KafkaConf), ("file", FileConf)])
def test_conf_spells_out_every_key(option: str, kind: type[SourceConf]) -> None:
    spelled_out = dict(flatten(preset({"source": option}).values)).keys()
    assert spelled_out | MAPPINGS == dict(leaves(AppConf, source=kind)).keys() | MAPPINGS


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_can_be_chosen_in_a_file_and_over_it(group: str, folder: Path) -> None:
    for option in options(group):
        (folder / "site.yaml").write_text(f"{group}: {option}")
        from_file = composed("config=site.yaml")
        (folder / "site.yaml").write_text(f"{group}: {options(group)[0]}")
        assert (
            composed("config=site.yaml", f"{group}={option}")
            == from_file
            == composed(f"{group}={option}")
        )


def test_groups_set_their_kind() -> None:
    assert composed("sink=console").sink.kind == "console"
    assert composed("sink=memory").sink.kind == "memory"
    assert composed("deploy=embedded").deploy.kind == "embedded"
    assert composed("source=file", "source.path=a.json").source == FileConf(path="a.json")


def test_embedded_is_quicker_and_gives_way_to_what_is_said(folder: Path) -> None:
    assert composed("deploy=embedded").window.delay_s == 2
    (folder / "site.yaml").write_text("window.delay_s: 3")
    conf = composed("deploy=embedded", "config=site.yaml", "deploy.duration_s=20")
    assert (conf.window.delay_s, conf.deploy.duration_s) == (3, 20)


def test_what_is_said_later_is_stronger(folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES)
    (folder / "site.yaml").write_text("rules: {limits: {categories: 8}}\nwindow.length_s: 20\n")
    words = ["window.length_s=30", "rules.limits.click_view_ratio=4"]
    conf = composed("rules=seed", "rules.path=rules.yaml", "config=site.yaml", *words)
    assert asdict(conf.rules.limits) == {"events": 20, "click_view_ratio": 4, "categories": 8}
    assert (conf.window.length_s, conf.window.delay_s) == (30, 10)
    assert composed("window.length_s=5", "window.length_s=6").window.length_s == 6


def test_a_file_may_nest_or_use_dots_or_be_empty(folder: Path) -> None:
    (folder / "nested.yaml").write_text("source: {fields: {ip: addr}}\nsink: {prefix: {shadow: s}}")
    (folder / "dotted.yaml").write_text("source.fields.ip: addr\nsink.prefix: {shadow: s}")
    (folder / "empty.yaml").write_text("# nothing yet\n")
    assert composed("config=nested.yaml") == composed("config=dotted.yaml")
    assert composed("config=empty.yaml") == composed()


def test_kafka_properties_are_dotted_names_with_plain_values(folder: Path) -> None:
    properties = "{security.protocol: SSL, ssl: {ca.location: ca.pem}, fetch: {max.bytes: 5}}"
    (folder / "site.yaml").write_text(f"source: {{kafka: {properties}}}")
    words = ["source.kafka.security.protocol=SASL_SSL", "source.kafka.socket.keepalive.enable=true"]
    isolation = "source.kafka.isolation.level=read_committed"
    assert kafka_of(composed("config=site.yaml", *words, isolation)).kafka == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "ca.pem",
        "fetch.max.bytes": 5,
        "socket.keepalive.enable": True,
        "isolation.level": "read_committed",
    }


def test_words_keep_their_text_and_numbers_their_type() -> None:
    words = ["source.topic=010", "source.group_id=7", "source.start=1700000000", "labels=nan"]
    conf = composed(*words, "window.idle_s=1e1", "rules.limits.events=5", "sink.username=null")
    assert (kafka_of(conf).topic, kafka_of(conf).group_id) == ("010", "7")
    assert (kafka_of(conf).start, conf.labels) == ("1700000000", "nan")
    assert (conf.window.idle_s, conf.rules.limits.events, conf.sink.username) == (10, 5, None)


def test_several_brokers_are_given_in_quotes() -> None:
    conf = composed("source.bootstrap_servers='a:9092,b:9092'")
    assert kafka_of(conf).bootstrap_servers == "a:9092,b:9092"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("010", "010"), ("1_000", "1_000"), ("1:30", "1:30"), ("0x10", "0x10"), ("yes", "yes"),
        ("2024-01-01", "2024-01-01"), (".nan", ".nan"), ("+5", "+5"), ("1.", "1."), ("<<", "<<"),
        ("9" * 5000, "9" * 5000), ("'10'", "10"), ("10", 10), ("-0", 0), ("1e3", 1000.0),
        ("1.50", 1.5), ("true", True), ("False", False), ("~", None), ("null", None), ("", None),
    ],
)  # fmt: skip
def test_yaml_scalars_mean_what_they_look_like(text: str, meant: object) -> None:
    value = parse(f"key: {text}")["key"]
    assert (value, type(value)) == (meant, type(meant))


# The user's own rules


def test_own_rules_replace_those_of_the_preset(folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES)
    rules = composed("rules=seed", "rules.path=rules.yaml", "rules.limits.events=30").rules
    when = "events > 30 and categories > 7"
    assert rules.rules == [RuleConf("busy", "More than a person does.", when)]
    assert rules.limits.click_view_ratio == 3


def test_the_file_of_own_rules_may_be_named_by_the_environment_or_a_number(folder: Path) -> None:
    (folder / "5").write_text(RULES)
    assert composed("rules.path=5").rules == composed("rules.path=${oc.env:R}", R="5").rules
    assert composed("rules.path=5").rules.rules[0].name == "busy"


def test_rules_can_be_given_without_a_file() -> None:
    rules = composed("rules.rules=[{name: a, when: 'events > 5', mode: shadow, ttl_s: 60}]").rules
    assert rules.rules == [RuleConf("a", "", "events > 5", 60, "shadow")]


# The environment


def test_the_environment_is_read_as_the_field_needs() -> None:
    words = ["window.length_s=${oc.env:N}", "source.topic=${oc.env:N}-${oc.env:M,b}"]
    conf = composed(*words, "source.stop_at_end=${oc.env:B}", "sink.username=${oc.env:U,null}",
                    "source.group_id=${oc.env:N}", N="20", B="true")  # fmt: skip
    assert conf.window.length_s == 20
    assert (kafka_of(conf).topic, kafka_of(conf).group_id) == ("20-b", "20")
    assert (kafka_of(conf).stop_at_end, conf.sink.username) == (True, None)


def test_a_key_can_stand_for_another() -> None:
    conf = composed("window.slide_s=${window.length_s}", "source.group_id=${source.topic}-1")
    assert (conf.window.slide_s, kafka_of(conf).group_id) == (10, "bot-logs-1")


@FEW
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_secret_arrives_unchanged_and_is_masked(secret: str) -> None:
    conf = composed("source.kafka.sasl.password=${oc.env:PASSWORD}", PASSWORD=secret)
    assert kafka_of(conf).kafka == {"sasl.password": secret}
    assert mask(conf)["source"]["kafka"] == {"sasl.password": "***"}


@FEW
@given(st.text("ab/?#@:[]%&=\n ", min_size=1))
def test_a_password_in_a_url_is_masked_or_breaks_the_url(secret: str) -> None:
    try:
        conf = composed("sink.url=redis://me:${oc.env:PASSWORD}@h:1/0", PASSWORD=secret)
    except ConfigError as error:
        assert str(error).startswith("sink.url: what 'redis://me:${oc.env:PASSWORD}@h:1/0' stands")
    else:
        assert mask(conf)["sink"]["url"] == "redis://***@h:1/0"


def test_masked_config_shows_all_the_rest() -> None:
    conf = composed("source.kafka.client.id=a", "sink.password_file=p", "sink.username=me")
    assert mask(conf) == asdict(conf)
    assert json.loads(json.dumps(mask(conf))) == asdict(conf)


def test_a_password_in_the_query_of_a_url_is_masked() -> None:
    conf = composed("sink.url='redis://h?db=1&password=${oc.env:P}'", P=SECRET)
    assert mask(conf)["sink"]["url"] == "redis://h?db=1&password=***"


@pytest.mark.parametrize(
    "key", ["window.length_s", "sink.layout", "source.start", "sink.url", "sink.prefix.decision",
            "source.kafka.isolation.level", "view"],
)  # fmt: skip
def test_a_wrong_value_of_the_environment_is_not_repeated(key: str) -> None:
    others = ["sink.prefix.statistics=${oc.env:P}"] if "prefix" in key else []
    message = refused(f"{key}=${{oc.env:P}}", *others, P=SECRET)
    assert "what '${oc.env:P}' stands for is refused" in message


def test_a_wrong_value_of_the_environment_in_a_rule_is_not_repeated() -> None:
    message = refused("rules.rules=[{name: a, ttl_s: '${oc.env:P}'}]", P=SECRET)
    assert message.startswith("rules.rules[0].ttl_s: what '${oc.env:P}' stands for is refused")


@pytest.mark.parametrize(
    "name",
    ["sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password",
     "sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret",
     "sasl.oauthbearer.config", "sasl.oauthbearer.assertion.private.key.passphrase",
     "sasl.oauthbearer.assertion.private.key.pem"],
)  # fmt: skip
def test_each_secret_of_kafka_is_refused_as_a_literal(name: str, folder: Path) -> None:
    key = f"source.kafka.{name}"
    assert "`ps` shows it" in refused(f"{key}={SECRET}")
    assert "`ps` shows it" in refused(f"source.kafka={{{name}: {SECRET}}}")
    (folder / "site.yaml").write_text(f"{key}: {SECRET}")
    message = refused("config=site.yaml")
    assert message.startswith(f"{key}: a literal secret is refused; give it by the environment")


@pytest.mark.parametrize(
    "name",
    ["ssl.key.location", "ssl.ca.pem", "ssl.certificate.pem", "sasl.username",
     "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.client.credentials.client.id",
     "sasl.oauthbearer.assertion.private.key.file"],
)  # fmt: skip
def test_what_is_no_secret_is_taken(name: str) -> None:
    assert kafka_of(composed(f"source.kafka.{name}=a")).kafka == {name: "a"}


# Refusals


def invalid_argv(path: Path) -> list[str]:
    """Return the overrides of a case: a config file, a rule set, or words under `argv:`."""
    if path.parent != INVALID:
        return [f"rules.path={path.relative_to(INVALID)}"]
    if path.read_text().splitlines()[1] == "argv:":
        return list(yaml.safe_load(path.read_text())["argv"])
    return [f"config={path.name}"]


@pytest.mark.parametrize("path", sorted(INVALID.rglob("*.yaml")), ids=lambda path: path.stem)
def test_invalid_config_is_refused_in_these_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(INVALID)
    before = sorted(INVALID.rglob("*"))
    wanted = path.read_text().splitlines()[0].removeprefix("# wantErr: ")
    assert refused(*invalid_argv(path)) == wanted
    assert sorted(INVALID.rglob("*")) == before


def test_invalid_config_has_exit_code_78() -> None:
    with pytest.raises(ConfigError) as caught:
        composed("window.length_s=0")
    assert (caught.value.exit_code, caught.value.key) == (78, "window.length_s")


@pytest.mark.parametrize(
    "word",
    ["+hydra.callbacks.x={_target_: logging.FileHandler, filename: trace}",
     "++hydra.callbacks.x={_target_: logging.FileHandler, filename: trace}",
     "hydra.callbacks={x: {_target_: logging.FileHandler, filename: trace}}",
     "+hydra.job_logging.handlers.z={class: logging.FileHandler, filename: trace}",
     "hydra/job_logging=default", "+hydra/job_logging=default", "hydra.run.dir=trace",
     "hydra.output_subdir=trace", "hydra.searchpath=[trace]", "--config-dir=trace", "-cd=trace",
     "hydra=default", "~hydra.job_logging", "source@hydra.x=file", "hydra/launcher@x=basic",
     " +hydra.run.dir=trace", "source=../sink/memory", "source=/etc/passwd",
     "window={_target_: logging.FileHandler, filename: trace}",
     "rules.rules=[{_target_: logging.FileHandler, filename: trace}]",
     "source.kafka={_target_: logging.FileHandler, filename: trace}"],
)  # fmt: skip
def test_f2_hostile_words_are_refused_and_leave_nothing(word: str, folder: Path) -> None:
    refused(word)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("key", [*KEYS, *GROUPS, "rules.rules[0]", "source.kafka.x", "config"])
def test_f2_no_key_takes_a_target(key: str, folder: Path) -> None:
    target = "{_target_: logging.FileHandler, filename: trace}"
    for word in (f"{key}._target_=logging.FileHandler", f"{key}={target}", f"+{key}={target}",
                 f"{key}=[{target}]"):  # fmt: skip
        refused(word)
    (folder / "site.yaml").write_text(f"{key}: {target}")
    refused("config=site.yaml")
    refused("rules.path=site.yaml")
    assert [path.name for path in folder.iterdir()] == ["site.yaml"]


@pytest.mark.parametrize(
    "word",
    ["+hydra.callbacks.x={_target_: logging.FileHandler, filename: trace}", "--config-dir=trace",
     "--config-path=trace", "--config-name=trace", "--multirun", "--run", "--info=all"],
)  # fmt: skip
def test_f2_hostile_words_start_nothing(word: str, tmp_path: Path) -> None:
    stranger = tmp_path / "trace"
    stranger.mkdir()
    (stranger / "config.yaml").write_text("view: none\n")
    done = subprocess.run(
        [sys.executable, "-m", "engine", word],
        cwd=tmp_path, env={"PYTHONPATH": str(bundled("conf").parent)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("botsieve: ")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == [stranger, stranger / "config.yaml"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: \x01", b"source.topic: a\xe9"])
def test_a_file_that_is_no_text_is_refused(content: bytes, folder: Path) -> None:
    (folder / "site.yaml").write_bytes(content)
    assert refused("config=site.yaml").startswith("config: 'site.yaml': ")
    assert refused("rules.path=site.yaml").startswith("rules.path: 'site.yaml': ")


@pytest.mark.parametrize("depth", [50, 200, 1000, 3000])
def test_deep_nesting_is_refused(depth: int, folder: Path) -> None:
    (folder / "site.yaml").write_text("source.topic: " + "[" * depth + "]" * depth)
    assert "nested deeper" in refused("config=site.yaml")
    assert refused("source.topic=" + "[" * depth + "]" * depth).startswith("source.topic: ")


@FEW
@given(st.one_of(ODD_TEXT, st.tuples(st.sampled_from(KEYS), ODD_TEXT).map("=".join)))
def test_any_word_is_taken_or_refused_in_one_line(word: str) -> None:
    try:
        composed(word)
    except ConfigError as error:
        assert str(error).isprintable()


@FEW
@given(st.lists(st.tuples(st.sampled_from([*KEYS, "a b"]), ODD_TEXT).map(": ".join), max_size=3))
def test_any_file_is_taken_or_refused_in_one_line(folder: Path, lines: list[str]) -> None:
    (folder / "site.yaml").write_text("\n".join(lines))
    for key in ("config", "rules.path"):
        try:
            composed(f"{key}=site.yaml")
        except ConfigError as error:
            assert str(error).isprintable()


# Traces, help, installation


def test_composing_leaves_no_trace(folder: Path) -> None:
    handlers = list(logging.getLogger().handlers)
    composed_once.cache_clear()
    composed("deploy=embedded", "rules=seed", "sink=console")
    help_text()
    assert list(folder.iterdir()) == []
    assert logging.getLogger().handlers == handlers
    assert not GlobalHydra.instance().is_initialized()


def test_help_lists_every_key_and_preset() -> None:
    lines = help_text().splitlines()
    said = {line.strip().partition("=")[0] for line in lines if line.startswith("  ")}
    for kind in (KafkaConf, FileConf):
        keys = dict(leaves(AppConf, source=kind)).keys() - CHOSEN_BY_GROUP.keys() - MAPPINGS
        assert keys <= said
    assert {f"{key}.NAME" for key in MAPPINGS} <= said
    for group in GROUPS:
        for option in options(group):
            assert any(line.startswith(f"  {group}={option} ") for line in lines)
    assert len(lines) <= 180


def test_help_shows_the_defaults_as_they_can_be_typed() -> None:
    words = [line.split()[0] for line in help_text().splitlines() if line.startswith("  ")]
    values = [word for word in words if "." in word.partition("=")[0] and "[...]" not in word]
    typed = [word for word in values if not word.startswith(NOT_TYPED)]
    assert composed(*typed) == composed()


def test_an_installed_engine_brings_its_conf(tmp_path: Path) -> None:
    package = tmp_path / "site" / "engine"
    source = bundled("conf").parent / "engine"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__", "bundled"))
    shutil.copytree(bundled("conf"), package / "bundled" / "conf")
    code = "import engine.settings.compose as e; e.compose([], environ={}); print(e.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": str(package.parent)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(package / "settings" / "compose.py")
