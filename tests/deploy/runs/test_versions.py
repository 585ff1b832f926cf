"""The versions that a run notes, and the name that ours is installed under."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from deploy.runs.versions import versions

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = re.findall(r'(?m)^name = "(.*)"$', (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))[0]


def test_our_own_is_that_of_the_distribution_and_not_of_somebody_elses_twist(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"twist": "0.1.0 of somebody else", NAME: "1.2.3"}
    monkeypatch.setattr("deploy.runs.versions.version", lambda name: installed.get(name, "9"))
    assert versions()["twist"] == "1.2.3"


def test_what_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("deploy.runs.versions.version", version)
    found = versions()
    assert {value for name, value in found.items() if name != "python"} == {"missing"}


def test_no_document_installs_somebody_elses_package() -> None:
    documents = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md"), CHECKOUT / "Makefile"]
    said = [line for path in documents for line in path.read_text(encoding="utf-8").splitlines()]
    offers = [line for line in said if "pip install" in line]
    assert offers
    assert not [line for line in offers if re.search(r"install\b[^`]*[ '\"]twist(\[|['\"`\s]|$)", line)]
