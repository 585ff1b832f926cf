"""Clips: episodes as annotated GIFs that stay small, or MP4s, each with a still beside it for who wants no motion.

A clip has one palette for all its frames, is not dithered, and holds a pixel until it changes by more than the camera's
noise, so that only what moves is stored.
Shapes: T frames, H W image, S dim of the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deploy.reporting.video import write_mp4

Frames = NDArray[np.uint8]
"""[T, H, W, 3], RGB."""

PAPER = (23, 26, 31)
PANEL = (34, 38, 45)
INK = (226, 230, 235)
FAINT = (120, 129, 140)
REACHED = (111, 191, 133)
MISSED = (214, 112, 96)
IMAGINED = (240, 160, 90)
GAP = 8
NOISE = 14
"""Difference in a channel, of 255, up to which a pixel counts as unchanged."""
PLOTS = 6
"""Dimensions of the state that an imagined clip has room for."""
HOLD_MILLISECONDS = 1500
"""How long the last frame stays, so that one sees where an episode ended."""


@dataclass(frozen=True)
class ClipRow:
    """Episodes that are shown side by side under one caption.

    Attributes:
        caption: what they have in common.
        episodes: the agent's camera, each [T, H, W, 3] uint8; they may differ in T.
        outcomes: whether each succeeded; empty to mark nothing.
    """

    caption: str
    episodes: tuple[Frames, ...]
    outcomes: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what cannot be drawn.

        Raises:
            ValueError: naming the shape, type or number that does not fit.
        """
        if not self.episodes:
            raise ValueError(f"clip row {self.caption!r}: has no episodes, at least 1 is needed")
        for frames in self.episodes:
            _check(frames, self.caption)
        if self.outcomes and len(self.outcomes) != len(self.episodes):
            raise ValueError(
                f"clip row {self.caption!r}: {len(self.outcomes)} outcomes for {len(self.episodes)} episodes"
            )


@dataclass(frozen=True)
class Traces:
    """A state that happened and the same as it was imagined.

    Attributes:
        names: [S] of them, with a unit at the end: "gripper_x_m".
        happened: [T, S].
        imagined: [T, S]; up to `context` what the model made of its observations, from there on what it imagined.
        context: frames that the model saw before it had to imagine, 1 to T - 1.
    """

    names: tuple[str, ...]
    happened: NDArray[np.float32]
    imagined: NDArray[np.float32]
    context: int

    def __post_init__(self) -> None:
        """Refuses what cannot be drawn.

        Raises:
            ValueError: naming the shape or number that does not fit.
        """
        shape = (len(self.happened), len(self.names))
        if self.happened.shape != shape or self.imagined.shape != shape:
            raise ValueError(
                f"traces: happened {self.happened.shape} and imagined {self.imagined.shape} must both be "
                f"[T, {len(self.names)}]"
            )
        if not 1 <= self.context < len(self.happened):
            raise ValueError(f"traces: context = {self.context} is not allowed: from 1 to {len(self.happened) - 1}")

    def most_telling(self, count: int) -> Traces:
        """At most `count` dimensions, in their order: positions before all others, and what moves before what rests."""
        moved = [_spread(column) for column in self.happened.T]
        ranked = sorted(range(len(self.names)), key=lambda k: (not self.names[k].endswith("_m"), -moved[k]))
        kept = sorted(ranked[:count])
        names = tuple(self.names[k] for k in kept)
        return Traces(names, self.happened[:, kept], self.imagined[:, kept], self.context)


def write_clip(
    path: Path, rows: Sequence[ClipRow], *, frames_per_second: float = 10.0, panel_pixels: int = 192
) -> Path:
    """Draws rows of episodes; an episode that is over shows its last frame and its outcome.

    Two rows "happened" and "imagined" of a model that imagines images are drawn by this as well.

    Args:
        path: the GIF; the still goes beside it as PNG.
        rows: from top to bottom.
        frames_per_second: of the clip; that of the control loop shows real time.
        panel_pixels: about how high an episode is drawn; images are enlarged by a whole number, pixels stay pixels.

    Returns:
        `path`.

    Raises:
        ValueError: without rows.
    """
    if not rows:
        raise ValueError("clip: has no rows, at least 1 is needed")
    length = max(len(frames) for row in rows for frames in row.episodes)
    placed: list[_PlacedRow] = []
    bottom = GAP
    for row in rows:
        placed.append(_PlacedRow(row, max(1, round(panel_pixels / row.episodes[0].shape[1])), bottom))
        bottom = placed[-1].bottom + GAP
    base = Image.new("RGB", (max(row.right for row in placed) + GAP, bottom), PAPER)
    for each in placed:
        each.write_caption(base)

    def draw() -> Iterator[Image.Image]:
        for t in range(length):
            canvas = base.copy()
            for each in placed:
                each.draw(canvas, t)
            yield canvas

    return _write(path, list(draw()), [frames for row in rows for frames in row.episodes], frames_per_second)


def write_imagined_clip(
    path: Path,
    film: Frames,
    traces: Traces,
    *,
    frames_per_second: float = 10.0,
    panel_pixels: int = 256,
    columns: int = 2,
) -> Path:
    """Draws what happened (the film, solid lines) against what the model imagined (dashed lines).

    Of a state with more than `PLOTS` dimensions the most telling are drawn.

    Args:
        path: the GIF; the still goes beside it as PNG.
        film: [T, H, W, 3], what the camera saw.
        traces: the state, over the same T frames.
        frames_per_second: of the clip.
        panel_pixels: about how high the film is drawn.
        columns: of the plots beside it.

    Returns:
        `path`.

    Raises:
        ValueError: if film and traces differ in length.
    """
    _check(film, "imagined")
    if len(film) != len(traces.happened):
        raise ValueError(f"imagined clip: film has {len(film)} frames, the traces have {len(traces.happened)}")
    film, traces = _held(film), traces.most_telling(PLOTS)
    scale = max(1, round(panel_pixels / film.shape[1]))
    height, width = film.shape[1] * scale, film.shape[2] * scale
    rows = -(-len(traces.names) // columns)
    plot_width, plot_height = 210, max(64, (height + 20) // rows - GAP)
    canvas_height = max(20 + height, rows * (plot_height + GAP)) + 2 * GAP + 22
    base = Image.new("RGB", (width + 3 * GAP + columns * (plot_width + GAP), canvas_height), PAPER)
    _legend(base, width + 3 * GAP)
    boxes = []
    for index in range(len(traces.names)):
        left = width + 3 * GAP + (index % columns) * (plot_width + GAP)
        top = GAP + 22 + (index // columns) * (plot_height + GAP)
        boxes.append((left, top, left + plot_width, top + plot_height))
        _plot(base, boxes[-1], traces, index)

    def draw() -> Iterator[Image.Image]:
        for t in range(len(film)):
            canvas = base.copy()
            _paste(canvas, film[t], scale, (GAP, GAP + 22))
            pen = ImageDraw.Draw(canvas)
            imagines = t >= traces.context
            text = "eyes closed: it imagines" if imagines else "eyes open: it sees this"
            pen.text((GAP, GAP - 2), text, fill=IMAGINED if imagines else INK, font=_font(14))
            for box in boxes:
                x = _time_to_x(box, t, len(film))
                pen.line([(x, box[1] + 18), (x, box[3])], fill=INK, width=1)
            yield canvas

    return _write(path, list(draw()), [film], frames_per_second)


def _spread(values: NDArray[np.float32]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max() - finite.min()) if len(finite) else 0.0


def _check(frames: Frames, what: str) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) == 0 or frames.dtype != np.uint8:
        raise ValueError(f"clip {what!r}: frames {frames.shape} {frames.dtype} must be [T >= 1, H, W, 3] uint8")


class _PlacedRow:
    """A row at its place in the clip."""

    def __init__(self, row: ClipRow, scale: int, top: int) -> None:
        self._films = [_held(frames) for frames in row.episodes]
        self._outcomes = row.outcomes
        self._scale = scale
        self.right = sum(frames.shape[2] * scale + GAP for frames in row.episodes)
        self._caption = _wrapped(row.caption, _font(14), self.right - GAP)
        self._caption_top = top - 2
        self._top = top + 20 * len(self._caption)
        self.bottom = self._top + max(frames.shape[1] for frames in row.episodes) * scale

    def write_caption(self, canvas: Image.Image) -> None:
        pen = ImageDraw.Draw(canvas)
        for line, text in enumerate(self._caption):
            pen.text((GAP, self._caption_top + 20 * line), text, fill=INK, font=_font(14))

    def draw(self, canvas: Image.Image, t: int) -> None:
        left = GAP
        for index, frames in enumerate(self._films):
            height, width = frames.shape[1] * self._scale, frames.shape[2] * self._scale
            _paste(canvas, frames[min(t, len(frames) - 1)], self._scale, (left, self._top))
            if self._outcomes and t >= len(frames) - 1:
                box = (left, self._top, left + width - 1, self._top + height - 1)
                _mark(canvas, box, success=self._outcomes[index])
            left += width + GAP


def _held(frames: Frames) -> Frames:
    """The film with every pixel held until it differs from what is shown by more than `NOISE`."""
    shown: Frames = frames.copy()
    for t in range(1, len(frames)):
        change = np.abs(frames[t].astype(np.int16) - shown[t - 1]).max(axis=-1, keepdims=True)
        shown[t] = np.where(change > NOISE, frames[t], shown[t - 1])
    return shown


def _paste(canvas: Image.Image, frame: NDArray[np.uint8], scale: int, position: tuple[int, int]) -> None:
    enlarged = frame.repeat(scale, axis=0).repeat(scale, axis=1)
    canvas.paste(Image.fromarray(enlarged), position)


def _mark(canvas: Image.Image, box: tuple[int, int, int, int], *, success: bool) -> None:
    """A frame and a tick or cross: the outcome is told by form as well as by colour."""
    pen = ImageDraw.Draw(canvas)
    colour = REACHED if success else MISSED
    pen.rectangle(box, outline=colour, width=3)
    x, y = box[2] - 26, box[1] + 8
    pen.rounded_rectangle((x - 4, y - 4, x + 20, y + 20), radius=5, fill=PAPER)
    if success:
        pen.line([(x + 1, y + 9), (x + 6, y + 14), (x + 15, y + 2)], fill=colour, width=3, joint="curve")
    else:
        pen.line([(x + 2, y + 2), (x + 14, y + 14)], fill=colour, width=3)
        pen.line([(x + 14, y + 2), (x + 2, y + 14)], fill=colour, width=3)


def _legend(canvas: Image.Image, left: int) -> None:
    pen = ImageDraw.Draw(canvas)
    for text, colour in (("happened", INK), ("imagined", IMAGINED)):
        pen.line([(left, GAP + 7), (left + 22, GAP + 7)], fill=colour, width=2)
        if colour == IMAGINED:
            pen.line([(left + 9, GAP + 7), (left + 13, GAP + 7)], fill=PAPER, width=2)
        pen.text((left + 28, GAP - 1), text, fill=INK, font=_font(12))
        left += 110


def _plot(canvas: Image.Image, box: tuple[int, int, int, int], traces: Traces, index: int) -> None:
    """One dimension of the state over time; the part that is imagined has a darker ground."""
    pen = ImageDraw.Draw(canvas)
    length = len(traces.happened)
    start = _time_to_x(box, traces.context, length)
    pen.rectangle((start, box[1] + 18, box[2], box[3]), fill=PANEL)
    name, _, unit = traces.names[index].rpartition("_")
    title = f"{name.replace('_', ' ')} ({unit})" if name else traces.names[index]
    pen.text((box[0], box[1]), title, fill=FAINT, font=_font(12))
    both = np.stack([traces.happened[:, index], traces.imagined[:, index]])
    finite = both[np.isfinite(both)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    # A dimension that hardly moves shall look like one: at least 2 cm (or 0.02 of its unit) are shown.
    middle, half = (low + high) / 2, max((high - low) / 2, 0.01)

    def position(t: int, value: float) -> tuple[float, float]:
        share = (value - (middle - half)) / (2 * half)
        return _time_to_x(box, t, length), box[3] - 4 - share * (box[3] - box[1] - 26)

    for values, colour, dashed in ((both[0], INK, False), (both[1], IMAGINED, True)):
        for t in range(1, length):
            if np.isfinite(values[t - 1 : t + 1]).all():
                ends = [position(t - 1, float(values[t - 1])), position(t, float(values[t]))]
                if dashed:  # the first two thirds of every step
                    (x0, y0), (x1, y1) = ends
                    ends[1] = (x0 + (x1 - x0) * 0.66, y0 + (y1 - y0) * 0.66)
                pen.line(ends, fill=colour, width=2)


def _time_to_x(box: tuple[int, int, int, int], t: int, length: int) -> int:
    return box[0] + round((box[2] - box[0]) * t / max(1, length - 1))


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """`text` in lines that fit; a single word that does not is left as it is."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib carries this font, so that clips look the same on every machine.
    return ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _write(path: Path, canvases: Sequence[Image.Image], films: Sequence[Frames], frames_per_second: float) -> Path:
    if path.suffix == ".mp4":
        held = [canvases[-1]] * round(frames_per_second * HOLD_MILLISECONDS / 1000)
        write_mp4(path, (np.asarray(canvas.convert("RGB")) for canvas in (*canvases, *held)), round(frames_per_second))
        canvases[-1].save(path.with_suffix(".png"), optimize=True)
        return path
    palette = _palette(canvases[-1], films)
    images = [canvas.quantize(palette=palette, dither=Image.Dither.NONE) for canvas in canvases]
    step = max(20, round(1000 / frames_per_second))
    durations = [step] * (len(images) - 1) + [HOLD_MILLISECONDS]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)
    images[-1].save(path.with_suffix(".png"), optimize=True)
    return path


def _palette(canvas: Image.Image, films: Sequence[Frames]) -> Image.Image:
    """Up to 256 colours: those of the drawing, and the best for all frames together."""
    own = (PAPER, PANEL, INK, FAINT, REACHED, MISSED, IMAGINED)
    shades = [tuple(int(a + (b - a) * k / 5) for a, b in zip(PAPER, INK, strict=True)) for k in range(1, 5)]
    pixels = np.concatenate([frames.reshape(-1, 3) for frames in films])
    chosen = pixels[:: max(1, len(pixels) // 400_000)]
    best = Image.fromarray(chosen[None]).quantize(240, method=Image.Quantize.MEDIANCUT).getpalette() or []
    colours = [channel for colour in (*own, *shades) for channel in colour] + best
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours[: 3 * 256])
    return palette
