"""report.html: the page of a run, which opens from disk and shows what report.json says, with pictures.

The page is one HTML file without scripts; pictures stay files of the run directory, at relative paths, so that the
directory can be moved, copied or served as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from deploy.errors import UserError
from deploy.reporting.factors import FactorsReport, format_p, read_factors
from deploy.reporting.formats import format_duration, format_interval, format_number, format_percent
from deploy.reporting.motion import MOTION_TITLES, format_motion
from deploy.runs.atomic import write_text
from deploy.runs.directory import read_config
from deploy.runs.report import Report, read_report
from learner.methods import METHODS, Method, Sees

_OF_DRIVERS: Mapping[tuple[Sees, str], tuple[str, str, str]] = {
    ("image", "_held_out"): (
        "The {name}, in held-out visuals",
        "All it has is this camera{size}, in visual worlds of a kind that it has never seen.",
        "Clip: the {name} acts from camera images in held-out visuals.",
    ),
    ("image", "_train"): (
        "The {name}, in training visuals",
        "The same in visual worlds like those that it was trained in.",
        "Clip: the {name} acts from camera images in training visuals.",
    ),
    ("state", ""): (
        "The {name}",
        "It acts from the simulator's state and sees no image; the camera is shown for you.",
        "Clip: the {name} acts from the state.",
    ),
    ("image", "_imagined"): (
        "What the {name} imagines",
        "It sees the first frames, then closes its eyes and imagines what the policy's actions will do.",
        "Clip: the camera's view and plots of the state, happened and as the {name} imagined it.",
    ),
    ("state", "_imagined"): (
        "What the {name} imagines",
        "The same from the state.",
        "Clip: the camera's view and plots of the state, happened and as the {name} imagined it.",
    ),
}
"""Title, caption and what to read instead of a driver's clips, by what it sees and the ending of the file's name, in
the order of the page."""

_FULLY_RANDOMISED: Mapping[tuple[Sees, str], tuple[str, str, str]] = {
    ("image", "_train"): (
        "The {name}, in randomised visuals",
        "The same in visual worlds with all of the default randomisation, of which its own had less or none.",
        "Clip: the {name} acts from camera images in randomised visuals.",
    ),
}
"""Of these, what is otherwise in a run that was evaluated in other worlds than its own."""

_KNOWN = {
    "success": ("Success", "Share of episodes that end in success; evaluations with their 95 % intervals."),
    "losses": ("Losses", "Every term of every part. A term that falls far has a logarithmic axis."),
    "rates": ("Rates and waiting", "How fast each part worked, and what share of its time it waited for the others."),
    "factors": (
        "One factor held out, or one thing changed, at a time",
        "The same episodes each time. Bars are 95 % intervals; −lost +gained counts episodes against training visuals.",
    ),
    "worlds": ("Randomised worlds", "Training worlds and held-out worlds, as the camera sees them."),
}
"""Title and caption of the pictures, by file name without its ending; `size` is filled in with the camera's."""


@dataclass(frozen=True)
class Picture:
    """A picture on the page; paths are relative to the run directory, quoted for HTML.

    Attributes:
        name: the file's, without its ending.
        source: the picture.
        dark: the same for a dark page, or None.
        still: the same without motion, or None.
        title: above it.
        caption: below it.
        alt: instead of it.
        width: in pixels.
        height: in pixels.
    """

    name: str
    source: str
    dark: str | None
    still: str | None
    title: str
    caption: str
    alt: str
    width: int
    height: int


def write_page(run: Path) -> Path:
    """Makes report.html from the report.json, config.json and pictures of a run directory.

    Pictures that are not there are left out, and so are their sections.

    Returns:
        The page.

    Raises:
        UserError: if report.json or config.json is missing or cannot be read.
    """
    report = read_report(run / "report.json")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=format_percent, interval=format_interval, duration=format_duration, number=format_number
    )
    factors, method = _factors(run), METHODS[report.method]
    page = run / "report.html"
    text = environment.get_template("report.html.j2").render(
        report=report,
        method=method,
        rows=[(result.policy, result.seen, result) for result in report.headline()],
        motion_titles=MOTION_TITLES,
        motions=[
            (result.policy, result.seen, format_motion(result.motion)) for result in report.headline() if result.motion
        ],
        clips=_clips(run, method, fully_randomised=any(x.full_randomisation for x in report.headline())),
        worlds=_worlds(run),
        factors=factors,
        factor_rows=[(effect, format_p(effect.p, short=True)) for effect in (*factors.effects(), factors.together())]
        if factors
        else [],
        factors_picture=_factors_picture(run),
        curves=[picture for name in ("success", "losses", "rates") for picture in _curve(run, name, report)],
        config=list(_config(run)),
        files=[
            name
            for name in ("report.json", "factors.json", "config.json", "metrics.jsonl", "tensorboard", "logs")
            if (run / name).exists()
        ],
    )
    write_text(page, text)
    return page


def _clips(run: Path, method: Method, *, fully_randomised: bool) -> list[Picture]:
    texts_of = {**_OF_DRIVERS, **(_FULLY_RANDOMISED if fully_randomised else {})}
    known = {
        f"{driver.name}{ending}": tuple(text.replace("{name}", driver.name) for text in texts)
        for (sight, ending), texts in texts_of.items()
        if (driver := method.driver(sight)) is not None
    }
    order = list(known)
    found = sorted(
        (run / "clips").glob("*.gif"),
        key=lambda path: (order.index(path.stem) if path.stem in order else len(order), path.stem),
    )
    pictures = []
    for path in found:
        words = path.stem.replace("_", " ")
        title, caption, alt = known.get(path.stem, (words.capitalize(), "", f"Clip: {words}."))
        pictures.append(_picture(run, path, alt, still=path.with_suffix(".png"), text=(title, caption)))
    return pictures


def _worlds(run: Path) -> list[Picture]:
    path = run / "worlds.png"
    alt = "A grid of camera images: the same task in many randomised worlds."
    return [_picture(run, path, alt)] if path.exists() else []


def _factors(run: Path) -> FactorsReport | None:
    path = run / "factors.json"
    return read_factors(path) if path.exists() else None


def _factors_picture(run: Path) -> list[Picture]:
    path = run / "factors.png"
    alt = "Success with each group of factors held out alone, beside training and held-out visuals; as in the table."
    return [_picture(run, path, alt, dark=run / "factors-dark.png")] if path.exists() else []


def _curve(run: Path, name: str, report: Report) -> list[Picture]:
    ends = ", ".join(f"{x.policy} ({x.seen}) {format_percent(x.success)}" for x in report.headline())
    alts = {
        "success": f"Curves of success over environment steps and wall time. At the end: {ends}.",
        "losses": "Curves of every loss of every part over environment steps.",
        "rates": "Curves of steps and updates per second and of waiting shares over environment steps.",
    }
    path = run / "curves" / f"{name}.png"
    return [_picture(run, path, alts[name], dark=path.with_name(f"{name}-dark.png"))] if path.exists() else []


def _picture(
    run: Path,
    path: Path,
    alt: str,
    *,
    dark: Path | None = None,
    still: Path | None = None,
    text: tuple[str, str] | None = None,
) -> Picture:
    title, caption = text or _KNOWN[path.stem]
    caption = caption.format(size=_image_size(run))
    with Image.open(path) as image:
        width, height = image.size

    def relative(file: Path | None) -> str | None:
        return quote(file.relative_to(run).as_posix()) if file is not None and file.exists() else None

    source = quote(path.relative_to(run).as_posix())
    return Picture(path.stem, source, relative(dark), relative(still), title, caption, alt, width, height)


def _image_size(run: Path) -> str:
    document = read_config(run)
    sim = document.config.get("sim") if document is not None else None
    pixels = sim.get("image_size") if isinstance(sim, dict) else None
    return "" if pixels is None else f", at {pixels}×{pixels} pixels"


def _config(run: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Groups of settings: (name, [(dotted key within the group, value)]); those of the run itself come first.

    Raises:
        UserError: if config.json is missing or is not a run's.
    """
    document = read_config(run)
    if document is None:
        raise UserError(f"{run / 'config.json'}: is not there")
    groups = {key: value for key, value in document.config.items() if isinstance(value, dict)}
    yield "run", [(key, _shown(value)) for key, value in document.config.items() if key not in groups]
    for name, group in groups.items():
        yield name, list(_flat(group))


def _flat(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in group.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
