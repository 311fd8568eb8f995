"""The layers of the engine: imports go down only, pure code stays pure, nothing runs foreign text.

A new module must be placed in LAYERS, else its tests fail and say so. `engine.batch.window` counts
as `batch`, and `engine.kernels.judge` as `kernels`; the modules directly in engine/ by their name.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the top down. A module imports from its own layer or from one below it.
LAYERS = {
    "entry": {"__main__"},
    "history": {"history", "rekey"},
    "another runner": {"spark"},
    "wiring": {"assembly", "embedded", "rule_windows", "warm_up"},
    "composition": {"settings"},
    "shown": {"page", "terminal"},
    "run": {
        "breaker",
        "detections",
        "guards",
        "metrics",
        "pipeline",
        "record",
        "state",
        "writer",
    },
    "sources and sinks": {
        "allowlist",
        "dead_letter",
        "kafka",
        "parquet_source",
        "progress",
        "labels",
        "recorded",
        "redis_cluster",
        "redis_connection",
        "redis_flags",
        "redis_node",
        "redis_replies",
        "redis_scripts",
        "redis_servers",
        "redis_sink",
        "redis_topology",
        "redis_watch",
        "redis_writer",
        "sinks",
        "sources",
    },
    "batch": {"batch"},
    "kernels": {"kernels"},
    "rules": {
        "rule_expressions",
        "rule_margins",
        "rule_programs",
        "rule_sql",
        "rule_thresholds",
        "rule_trees",
        "rules",
    },
    "config": {
        "config",
        "history_config",
        "kafka_properties",
        "sink_config",
        "source_config",
        "spark_config",
    },
    "ground": {"failpoints", "kernel_cache", "networks", "paths", "schema", "windows"},
    "errors": {"errors"},
}
DEPTH = {name: depth for depth, names in enumerate(LAYERS.values()) for name in names}

# Pure layers get plain values: no config object, no clock, no chance, no network, no file.
PURE = {
    "batch",
    "kernels",
    "rule_expressions",
    "rule_margins",
    "rule_programs",
    "rule_sql",
    "rule_trees",
    "rules",
}
TAKES_NO_CONFIG = {"batch", "kernels"}
EFFECTS = {
    "asyncio",
    "confluent_kafka",
    "datetime",
    "glob",
    "hydra",
    "io",
    "logging",
    "multiprocessing",
    "omegaconf",
    "os",
    "pathlib",
    "random",
    "redis",
    "rich",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
}
KERNELS_MAY_IMPORT = {"__future__", "collections", "math", "numba", "numpy", "typing"}

NO_FOREIGN_CODE = {"compile", "eval", "exec", "__import__"}
NO_FOREIGN_DATA = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
# In two halves, so that this file does not name them either.
REGISTRY_HOSTS = [
    ".".join(halves)
    for halves in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("repo1.maven", "org"),
        ("repo.maven.apache", "org"),
        ("registry.npmjs", "org"),
        ("crates", "io"),
        ("proxy.golang", "org"),
        ("deb.debian", "org"),
        ("docker", "io"),
    ]
]


def sources_under(*folders: str) -> list[Path]:
    """The Python files of some top-level folders, relative to the repository."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in found)


def tree_of(path: Path) -> ast.Module:
    """The parsed source of a file."""
    return ast.parse((ROOT / path).read_text(), str(path))


def imports_of(path: Path) -> Iterator[str]:
    """Every imported module as a dotted name, wherever in the file the import stands."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            base = node.module or ""
            is_package = (ROOT / base.replace(".", "/")).is_dir()
            yield from (f"{base}.{alias.name}" if is_package else base for alias in node.names)


def unit_of(dotted: str) -> str:
    """`engine.batch.window` -> `batch`; the package itself (its version) -> nothing."""
    name = dotted.split(".")[1] if "." in dotted else ""
    return "" if name == "__version__" else name


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


ENGINE = [path for path in sources_under("engine") if path != Path("engine/__init__.py")]
SHIPPED = sources_under("engine", "tools", "benchmarks")


def placed(unit: str) -> int:
    """The depth of a unit, or a failure that says where to add it."""
    if unit not in DEPTH:
        pytest.fail(f"engine/{unit} has no layer: place it in LAYERS in tests/test_layers.py")
    return DEPTH[unit]


def engine_imports(path: Path) -> set[str]:
    """The units of the engine that a file imports."""
    ours = {unit_of(name) for name in imports_of(path) if name.split(".")[0] == "engine"}
    return ours - {""}


def outside_imports(path: Path) -> set[str]:
    """The top-level packages that a file imports from elsewhere."""
    return {name.split(".")[0] for name in imports_of(path)} - {"engine"}


@pytest.mark.parametrize("path", ENGINE, ids=str)
def test_engine_imports_go_down_only(path: Path) -> None:
    own = placed(unit_of(module_of(path)))
    upward = {unit for unit in engine_imports(path) if placed(unit) < own}
    assert not upward, f"{path} imports from above its layer: {sorted(upward)}"


@pytest.mark.parametrize("path", ENGINE, ids=str)
def test_engine_pure_code_takes_no_config_and_no_effects(path: Path) -> None:
    unit = unit_of(module_of(path))
    forbidden = EFFECTS if unit in PURE else set()
    assert not outside_imports(path) & forbidden, f"{path} is pure: pass values as arguments"
    if unit in TAKES_NO_CONFIG:
        assert "config" not in engine_imports(path), f"{path} gets plain values, not config"
    if unit == "kernels":
        stray = outside_imports(path) - KERNELS_MAY_IMPORT
        assert not stray, f"{path} is a kernel and imports {sorted(stray)}"


def test_engine_modules_have_no_import_cycle() -> None:
    known = {module_of(path) for path in ENGINE}
    graph = {module_of(path): set(imports_of(path)) & known for path in ENGINE}
    order = list(TopologicalSorter(graph).static_order())
    assert len(order) == len(known)


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_shipped_code_runs_no_foreign_text(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Name):
            assert node.id not in NO_FOREIGN_CODE, f"{where}: {node.id}"
        if isinstance(node, ast.Attribute | ast.Name | ast.alias):
            last = getattr(node, "attr", None) or getattr(node, "id", None) or node.name
            assert last.split(".")[-1] != "instantiate", f"{where}: instantiate"
        if isinstance(node, ast.Constant):
            assert node.value != "_target_", f"{where}: _target_"
    assert not outside_imports(path) & NO_FOREIGN_DATA


def test_config_files_name_no_target() -> None:
    texts = {path: path.read_text() for path in (ROOT / "conf").rglob("*.yaml")}
    assert texts, "conf/ is empty"
    assert not [path for path, text in texts.items() if "_target_" in text]


def test_project_names_no_registry_host() -> None:
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], check=True, capture_output=True, text=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    texts = {path: path.read_text(errors="replace") for path in paths if path.is_file()}
    named = [f"{path}: {host}" for path in texts for host in REGISTRY_HOSTS if host in texts[path]]
    assert not named
