"""The limits that keep the code readable: length of functions and files, names of modules, what lies at the top."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("actors", "deploy", "learner", "replay", "sim")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FUNCTION_LINES = 90
FILE_LINES = 400
GRAB_BAGS = {"common", "helper", "helpers", "misc", "tools", "util", "utils"}
TOP_LEVEL = {
    *PACKAGES,
    ".ci",
    ".gitignore",
    ".rayignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "cluster.yaml",
    "constraints.txt",
    "docs",
    "pyproject.toml",
    "tests",
}


def long_functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Functions above the limit, decorators and docstring included: (name, lines)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or node.lineno) - first + 1
            if lines > FUNCTION_LINES:
                yield node.name, lines


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_function_is_too_long_to_read() -> None:
    too_long = {}
    for path in SOURCES + TESTS:
        for name, lines in long_functions(ast.parse(path.read_text(encoding="utf-8"))):
            too_long[f"{named(path)}: {name}"] = lines
    assert not too_long


def test_no_file_is_too_long_to_read() -> None:
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {name: count for name, count in lines.items() if count > FILE_LINES}


def test_no_module_has_the_name_of_something_else() -> None:
    """`replay/redis.py` or `learner/types.py` would be found before, or confused with, what they are named after."""
    installed = {name for name, owners in packages_distributions().items() if set(owners) != {"twist-distillation"}}
    foreign = (installed | sys.stdlib_module_names) - {"__main__"}
    assert {"redis", "types", "torch"} <= foreign
    assert not foreign & set(PACKAGES)
    assert not {named(path) for path in SOURCES if path.stem in foreign}


def test_no_module_is_a_grab_bag() -> None:
    assert not {named(path) for path in SOURCES if path.stem in GRAB_BAGS}


def test_test_files_have_names_of_their_own() -> None:
    """Tests have no packages, so that two files of one name would be one module."""
    names = [path.name for path in TESTS if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_the_top_level_holds_what_it_should_and_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0 or not listed.stdout:
        pytest.skip("no git checkout here, so it is not known which files belong to the repository")
    assert {Path(name).parts[0] for name in listed.stdout.split("\0") if name} <= TOP_LEVEL


def test_the_limit_on_functions_finds_one_that_is_too_long() -> None:
    body = "\n".join("    x = 1" for _ in range(FUNCTION_LINES))
    assert list(long_functions(ast.parse(f"def long():\n{body}\n"))) == [("long", FUNCTION_LINES + 1)]
    assert not list(long_functions(ast.parse(f"def short():\n{body[:-10]}\n")))
