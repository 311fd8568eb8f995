"""What a newcomer meets first agrees with itself: version, locks, Makefile, CI and package."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import engine
from tests.test_layers import outside_imports, sources_under

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ["build", "run", "dev", "spark"]
PINNED = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+) \\\n(?P<hashes>( {4}--hash=.*\n)+)")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", re.MULTILINE)


def read(name: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / name).read_text()


def project() -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads(read("pyproject.toml"))["project"]


def locked(lock: str) -> dict[str, str]:
    """Name -> version of every package in a lock."""
    text = read(f"requirements/{lock}.txt")
    return {found["name"]: found["version"] for found in PINNED.finditer(text)}


def declared(*extras: str) -> list[Requirement]:
    """The requirements of the project and of some extras."""
    table = project()
    named = [line for extra in extras for line in table["optional-dependencies"][extra]]
    return [Requirement(line) for line in [*table["dependencies"], *named]]


def test_changelog_newest_release_is_the_version_of_the_package() -> None:
    changelog = read("CHANGELOG.md")
    newest = RELEASE.search(changelog)
    assert newest is not None
    assert newest[1] == engine.__version__
    assert changelog.index("## [Unreleased]") < newest.start()


def test_pyproject_takes_the_version_from_the_package() -> None:
    tool = tomllib.loads(read("pyproject.toml"))["tool"]
    assert "version" in project()["dynamic"]
    assert tool["hatch"]["version"]["path"] == "engine/__init__.py"


def test_license_is_the_one_that_pyproject_names() -> None:
    assert project()["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in read("LICENSE")


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_every_package_with_hashes_and_names_no_address(lock: str) -> None:
    text = read(f"requirements/{lock}.txt")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    pins = [line for line in lines if not line.startswith(" ")]
    assert len(pins) == len(locked(lock))
    assert all(HASH.fullmatch(line) for line in lines if line.startswith(" "))
    assert "://" not in text
    assert not [line for line in lines if line.startswith("-")]


@pytest.mark.parametrize(
    ("lock", "extras"), [("run", ["demo"]), ("dev", ["demo", "dev"]), ("spark", ["spark"])]
)
def test_lock_satisfies_what_pyproject_asks_for(lock: str, extras: list[str]) -> None:
    versions = locked(lock)
    unmet = [
        str(wanted)
        for wanted in declared(*extras)
        if not wanted.specifier.contains(versions.get(canonicalize_name(wanted.name), "0"))
    ]
    assert not unmet, f"run `make lock`: {unmet}"


def test_locks_agree_on_the_versions_that_they_share() -> None:
    build, run, dev, spark = map(locked, LOCKS)
    assert run.items() <= dev.items()
    for other in (build, spark):
        assert all(dev.get(name, version) == version for name, version in other.items())


def distributions_imported_by(*folders: str) -> set[str]:
    """The distributions, by their canonical names, that the code of some folders imports."""
    owners = importlib.metadata.packages_distributions()
    names = {name for path in sources_under(*folders) for name in outside_imports(path)}
    return {canonicalize_name(owner) for name in names for owner in owners.get(name, [])}


def test_dependencies_are_what_the_code_imports() -> None:
    used = distributions_imported_by("engine", "tools")
    needed = {canonicalize_name(wanted.name) for wanted in declared()}
    allowed = {canonicalize_name(wanted.name) for wanted in declared("demo", "spark")}
    assert used <= allowed
    assert needed <= used


def makefile_targets() -> dict[str, str]:
    """Phony target -> its help line, empty where it has none."""
    text = read("Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    helped = dict(re.findall(r"^([a-z-]+):.*?## (.+)$", text, re.MULTILINE))
    named = {name for name in re.findall(r"^([a-z-]+):", text, re.MULTILINE)}
    return {name: helped.get(name, "") for name in {*phony[1].split(), *named}}


def test_makefile_explains_every_target() -> None:
    targets = makefile_targets()
    assert {"demo", "setup", "test", "check", "bench", "run", "lock", "clean"} <= targets.keys()
    assert all(targets.values()), targets


def test_makefile_help_is_what_make_alone_prints() -> None:
    printed = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[1] for line in printed.splitlines()} == makefile_targets().keys()


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_makefile_says_in_one_line_which_command_is_missing(missing: str, tmp_path: Path) -> None:
    for name in {"sh", "make", "java"} - {missing}:
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    jars = f"JARS={tmp_path / 'jars'}"
    ended = subprocess.run(
        ["make", "-s", "-C", ROOT, "services", jars],
        env={"PATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    said, by_make = ended.stderr.splitlines()
    assert said.startswith(f"{missing} is not on PATH")
    assert "apt-get install" in said
    assert by_make.endswith("Error 69")


def test_ci_run_calls_the_test_target_and_nothing_else() -> None:
    script = read(".ci/run").splitlines()
    assert script[0] == "#!/usr/bin/env bash"
    assert script[-1] == "exec make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_workflow_calls_only_make_targets_and_pins_its_actions() -> None:
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    assert "make test" in runs
    assert {run.removeprefix("make ") for run in runs} <= makefile_targets().keys()
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)


def test_pre_commit_calls_only_make_targets() -> None:
    hooks = [
        hook
        for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
        for hook in repo["hooks"]
    ]
    assert {hook["entry"].removeprefix("make ") for hook in hooks} <= makefile_targets().keys()


def compose_services() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml."""
    return yaml.safe_load(read("compose.yaml"))["services"]


@pytest.mark.parametrize("name", compose_services())
def test_compose_service_is_pinned_and_on_loopback_only(name: str) -> None:
    service = compose_services()[name]
    image, _, tag = service["image"].partition(":")
    assert image.count("/") <= 1
    assert re.match(r"v?\d+\.\d+", tag)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_compose_waits_only_for_services_that_tell_their_health() -> None:
    services = compose_services()
    awaited = {name for service in services.values() for name in service.get("depends_on", {})}
    assert awaited == {"kafka", "redis"}
    assert all("healthcheck" in services[name] for name in awaited)


def test_compose_runs_the_kafka_that_the_tests_run() -> None:
    tested = re.search(r"<kafka.version>(.+)</kafka.version>", read("tests/services/pom.xml"))
    assert tested is not None
    assert compose_services()["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_package_built_from_its_source_archive_carries_conf_and_tools(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        carried = set(wheel.namelist())
    expected = {
        f"engine/bundled/{path.relative_to(ROOT)}"
        for folder in ["conf", "tools"]
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in {".py", ".yaml"}
    }
    assert expected
    assert expected <= carried
    assert f"botsieve-{engine.__version__}.dist-info/licenses/LICENSE" in carried
