"""Import rules that a list of forbidden modules cannot express; the others are import-linter's, in pyproject.toml.

Here a package names what it may import, so that something new is refused until somebody allows it.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("actors", "deploy", "learner", "replay", "sim")

SETTINGS = {"pydantic", "annotated_types"}
"""The types of settings and documents, and their limits: small wheels that bring neither a simulator nor Ray."""

MAY_IMPORT = {
    "sim": {
        *SETTINGS,
        "numpy",
        "gymnasium",
        "pybullet",
        "pybullet_data",
        "fast_simplification",
        "scipy",
        "numba",
        "PIL",
        "mujoco",
    },
    "replay": {*SETTINGS, "numpy", "redis", "zstandard"},
    "learner": {*SETTINGS, "numpy", "torch", "safetensors", "replay"},
    # torch only for the learner's networks that act here: to say how many threads they may use
    "actors": {*SETTINGS, "numpy", "gymnasium", "ray", "torch", "learner", "replay", "sim"},
    "deploy": {
        *("numpy", "gymnasium", "torch", "ray", "matplotlib", "PIL", "rich", "jinja2", "tensorboard"),
        *("pathspec", "fsspec"),
        *("onnxruntime", "onnxscript", "yaml", "safetensors"),  # what makes and checks a robot's bundle
        *SETTINGS,
        "pydantic_core",  # pydantic's own JSON
        *("tomli", "tomllib"),  # the second is Python's own from 3.11 on
        *("franky", "cv2"),  # drivers, each in one module
        *("pyarrow", "av"),  # recordings
        "scipy",  # alignment of cameras
        *("actors", "learner", "replay", "sim"),
    },
}
"""Beside itself and Python's own."""


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Every module that `source` imports, wherever in the file: (line, dotted name)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def optimisers(source: str) -> Iterator[int]:
    """Lines that reach for torch.optim."""
    yield from (line for line, name in imports(source) if f"{name}.".startswith("torch.optim."))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "optim" and isinstance(node.value, ast.Name):
            yield node.lineno


def sources(package: str) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


RUNTIME = "deploy/robot/runtime"

RUNTIME_MAY_IMPORT = {"numpy", "onnxruntime"}
"""All that a robot's computer needs; `import deploy` there would find nothing."""

DRIVERS = {"franky_arm.py": {"franky"}, "cameras.py": {"cv2"}}
"""What drives one kind of hardware, imported where that is asked for."""


def test_the_robots_runtime_imports_numpy_and_onnxruntime_alone() -> None:
    found = {
        f"{name}:{line} imports {module}"
        for name, source in sources(RUNTIME)
        for line, module in imports(source)
        if module.partition(".")[0]
        not in RUNTIME_MAY_IMPORT | sys.stdlib_module_names | DRIVERS.get(Path(name).name, set())
    }
    assert not found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package} | sys.stdlib_module_names
    found = {
        f"{name}:{line} imports {module}"
        for name, source in sources(package)
        for line, module in imports(source)
        if module.partition(".")[0] not in allowed
    }
    assert not found


@pytest.mark.parametrize("package", sorted({*PACKAGES} - {"learner"}))
def test_only_the_learner_has_optimisers(package: str) -> None:
    assert not {f"{name}:{line}" for name, source in sources(package) for line in optimisers(source)}


def test_the_rules_find_what_breaks_them() -> None:
    assert [name for _, name in imports("def f():\n    from torch import nn\nimport redis.retry as r")] == [
        "redis.retry",
        "torch.nn",
    ]
    for source in ("import torch.optim", "from torch import optim", "from torch.optim import Adam"):
        assert list(optimisers(source)) == [1]
    assert list(optimisers("import torch\nx = torch.optim.Adam")) == [2]
    assert not list(optimisers("import torch.nn\nx = torch.nn.Linear"))
