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
from deploy.runs.report import ROW_TITLES, Report, read_report

_KNOWN = {
    "teacher": (
        "The teacher",
        "It acts from the simulator's state and sees no image; the camera is shown for you.",
    ),
    "student_train": (
        "The student, in training visuals",
        "The same in visual worlds like those that it was trained in.",
    ),
    "student_held_out": (
        "The student, in held-out visuals",
        "All it has is this camera{size}, in visual worlds of a kind that it has never seen.",
    ),
    "student_imagined": (
        "What the student imagines",
        "It sees the first frames, then closes its eyes and imagines what the policy's actions will do.",
    ),
    "teacher_imagined": (
        "What the teacher imagines",
        "The same from the state: the model that the student's is distilled from.",
    ),
    "success": ("Success", "Share of episodes that end in success; evaluations with their 95 % intervals."),
    "losses": ("Losses", "Every term of teacher and student. A term that falls far has a logarithmic axis."),
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
    factors = _factors(run)
    page = run / "report.html"
    text = environment.get_template("report.html.j2").render(
        report=report,
        rows=[(*ROW_TITLES[result.name], result) for result in report.headline()],
        motion_titles=MOTION_TITLES,
        motions=[
            (*ROW_TITLES[result.name], format_motion(result.motion)) for result in report.headline() if result.motion
        ],
        clips=_clips(run),
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


_CLIPS = {
    "student_held_out": "Clip: the student acts from camera images in held-out visuals.",
    "student_train": "Clip: the student acts from camera images in training visuals.",
    "teacher": "Clip: the teacher acts from the state.",
    "student_imagined": "Clip: the camera's view and plots of the state, happened and as the student imagined it.",
    "teacher_imagined": "Clip: the camera's view and plots of the state, happened and as the teacher imagined it.",
}
"""What to read instead of a clip, in the order of the page."""


def _clips(run: Path) -> list[Picture]:
    order = list(_CLIPS)
    found = sorted(
        (run / "clips").glob("*.gif"),
        key=lambda path: (order.index(path.stem) if path.stem in order else len(order), path.stem),
    )
    return [
        _picture(
            run, path, _CLIPS.get(path.stem, f"Clip: {path.stem.replace('_', ' ')}."), still=path.with_suffix(".png")
        )
        for path in found
    ]


def _worlds(run: Path) -> list[Picture]:
    path = run / "worlds.png"
    alt = "A grid of camera images: the same task in many randomised worlds."
    return [_picture(run, path, alt)] if path.exists() else []


def _factors(run: Path) -> FactorsReport | None:
    path = run / "factors.json"
    return read_factors(path) if path.exists() else None


def _factors_picture(run: Path) -> list[Picture]:
    path = run / "factors.png"
    alt = "Success with each factor held out alone, beside training visuals and all held-out visuals; as in the table."
    return [_picture(run, path, alt, dark=run / "factors-dark.png")] if path.exists() else []


def _curve(run: Path, name: str, report: Report) -> list[Picture]:
    teacher, train, held_out = (format_percent(result.success) for result in report.headline())
    alts = {
        "success": f"Curves of success over environment steps and wall time. At the end: teacher {teacher}, "
        f"student {train} in training visuals and {held_out} in held-out visuals.",
        "losses": "Curves of every loss of teacher and student over environment steps.",
        "rates": "Curves of steps and updates per second and of waiting shares over environment steps.",
    }
    path = run / "curves" / f"{name}.png"
    return [_picture(run, path, alts[name], dark=path.with_name(f"{name}-dark.png"))] if path.exists() else []


def _picture(run: Path, path: Path, alt: str, *, dark: Path | None = None, still: Path | None = None) -> Picture:
    title, caption = _KNOWN.get(path.stem, (path.stem.replace("_", " ").capitalize(), ""))
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
