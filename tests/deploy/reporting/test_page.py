"""report.html: complete, readable without its pictures, and opened by a real browser from disk."""

import html.parser
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import made_up_run
import pytest

from deploy.errors import UserError
from deploy.reporting.page import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (or google-chrome) on the PATH")

PICTURES = ("student_held_out", "student_train", "teacher", "student_imagined", "worlds", "success", "losses", "rates")


class Elements(html.parser.HTMLParser):
    """Every element's name and attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A name that must be quoted in a URL: people call their directories all sorts of things.
    path = made_up_run.make_run(tmp_path_factory.mktemp("runs") / "my run #1")
    write_page(path)
    return path


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def in_browser(run: Path, probe: str, *, dark: bool = False, width: int = 1280) -> Any:
    """Opens a copy of the page with one more script, and returns the JSON value that `probe` evaluates to."""
    script = (
        "<script>addEventListener('load', () => {"
        f"const made = document.createElement('pre'); made.id = 'probe'; made.textContent = JSON.stringify({probe});"
        "document.body.append(made);})</script></body>"
    )
    page = run / "probed.html"
    page.write_text((run / "report.html").read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={run / 'browser'}",
        f"--window-size={width},2000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_the_headline_is_the_students_success_in_held_out_visuals(text: str) -> None:
    (heading,) = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
    assert "96 % of 100 episodes" in heading


def test_it_shows_results_faults_pace_settings_and_versions(text: str) -> None:
    for shown in (
        "98.0 %",
        "90.2 – 98.4 %",
        "30,000",
        "4 min 43 s",
        "Actors restarted (killed)",
        "Chunks quarantined",
        "51.20",
        "teacher.learning_rate",
        "0.0006",
        "2.13.0",
        "Swing there (95 %)",
        "4.2 mm",
    ):
        assert shown in text, shown


def test_every_picture_has_a_text_instead_of_it_and_lies_in_the_run_directory(run: Path, text: str) -> None:
    images = Elements(text).all("img")
    assert len(images) == len(PICTURES)
    for image in images:
        assert len(image["alt"] or "") > 20
        assert not (image["src"] or "").startswith("/")
        assert (run / unquote(image["src"] or "")).is_file()


def test_headings_leave_out_no_level(text: str) -> None:
    levels = [int(tag[1]) for tag, _ in Elements(text).found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_it_needs_nothing_from_elsewhere(text: str) -> None:
    assert "://" not in text
    elements = Elements(text)
    assert not elements.all("script")
    assert not elements.all("link")


def test_links_lead_to_files_of_the_run(run: Path, text: str) -> None:
    links = [link["href"] for link in Elements(text).all("a")]
    assert {"report.json", "config.json", "metrics.jsonl"} <= set(links)
    assert all((run / (link or "")).exists() for link in links)


def test_what_comes_from_the_run_is_escaped(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("browser"))
    document = json.loads((run / "config.json").read_text())
    document["config"]["redis_url"] = "<script>alert(1)</script>"
    (run / "config.json").write_text(json.dumps(document))
    assert not Elements(write_page(run).read_text(encoding="utf-8")).all("script")


def test_the_captions_tell_the_cameras_own_size(run: Path) -> None:
    document = json.loads((run / "config.json").read_text(encoding="utf-8"))
    document["config"]["sim"]["image_size"] = 48
    before = (run / "config.json").read_text(encoding="utf-8")
    (run / "config.json").write_text(json.dumps(document))
    try:
        page = write_page(run).read_text(encoding="utf-8")
    finally:
        (run / "config.json").write_text(before)
        write_page(run)
    assert "All it has is this camera, at 48×48 pixels, in visual worlds" in page
    assert "64×64" not in page


def test_pictures_that_are_not_there_are_left_out(run: Path, tmp_path: Path) -> None:
    for name in ("report.json", "config.json"):
        shutil.copy(run / name, tmp_path)
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert not Elements(page).all("img")
    assert "<h2>Clips</h2>" not in page


def test_a_directory_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"report\.json: No such file"):
        write_page(tmp_path)


@needs_chromium
def test_a_browser_opens_it_from_disk_and_loads_every_picture(run: Path) -> None:
    probe = "[...document.images].map(image => [image.closest('figure').id, image.complete && image.naturalWidth])"
    loaded = dict(in_browser(run, probe))
    assert set(loaded) == set(PICTURES)
    assert all(width > 0 for width in loaded.values()), loaded


@needs_chromium
def test_it_follows_the_browsers_light_or_dark(run: Path) -> None:
    probe = "[getComputedStyle(document.body).backgroundColor, document.querySelector('#success img').currentSrc]"
    light, light_curve = in_browser(run, probe)
    dark, dark_curve = in_browser(run, probe, dark=True)
    assert (light_curve.rsplit("/", 1)[-1], dark_curve.rsplit("/", 1)[-1]) == ("success.png", "success-dark.png")
    assert sum(map(int, re.findall(r"\d+", light)[:3])) > 600 > 150 > sum(map(int, re.findall(r"\d+", dark)[:3]))


@needs_chromium
def test_it_fits_a_narrow_window(run: Path) -> None:
    wide, inner = in_browser(run, "[document.documentElement.scrollWidth, innerWidth]", width=500)
    assert wide <= inner
