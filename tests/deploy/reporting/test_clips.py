"""Clips: what is in a GIF, how long it runs, how large it is, and what is refused."""

from pathlib import Path

import made_up_run
import numpy as np
import pytest
from PIL import Image

from deploy.reporting.clips import HOLD_MILLISECONDS, MISSED, REACHED, ClipRow, Traces, write_clip, write_imagined_clip


def pictures(path: Path) -> list[Image.Image]:
    frames = []
    with Image.open(path) as clip:
        for index in range(clip.n_frames):  # type: ignore[attr-defined]
            clip.seek(index)
            frames.append(clip.convert("RGB"))
    return frames


def seconds(path: Path) -> float:
    total = 0
    with Image.open(path) as clip:
        for index in range(clip.n_frames):  # type: ignore[attr-defined]
            clip.seek(index)
            total += clip.info["duration"]
    return total / 1000


def contains(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(np.asarray(picture).astype(int) - colour).max(axis=-1) <= 6).sum() > 50)


def test_an_episode_is_enlarged_by_whole_pixels(tmp_path: Path) -> None:
    film = made_up_run.episode(5, seed=0)
    path = write_clip(tmp_path / "one.gif", [ClipRow("one", (film,))], panel_pixels=192)
    last = np.asarray(pictures(path)[-1]).astype(int)
    square = last[-8 - 192 : -8, 8 : 8 + 192]
    assert (square[::3, ::3] == square[1::3, 1::3]).all()
    assert np.abs(square[1::3, 1::3] - film[-1]).mean() < 12, "the palette keeps the colours"


def test_a_clip_lasts_as_long_as_its_longest_episode_and_holds_the_end(tmp_path: Path) -> None:
    films = (made_up_run.episode(12, seed=0), made_up_run.episode(20, seed=1))
    path = write_clip(tmp_path / "two.gif", [ClipRow("two", films)], frames_per_second=10)
    assert seconds(path) == pytest.approx(19 * 0.1 + HOLD_MILLISECONDS / 1000)


def test_a_clip_may_be_a_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install -e '.[dataset]'")
    film = made_up_run.episode(5, seed=0)
    path = write_clip(tmp_path / "one.mp4", [ClipRow("one", (film,))], frames_per_second=10)
    with av.open(str(path)) as opened:
        frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert len(frames) == 5 + HOLD_MILLISECONDS // 100
    with Image.open(path.with_suffix(".png")) as still:
        width, height = still.size
        wanted = np.asarray(still.convert("RGB")).astype(int)
    assert np.abs(frames[-1][:height, :width] - wanted).mean() < 6


def test_outcomes_appear_when_their_episode_is_over(tmp_path: Path) -> None:
    films = (made_up_run.episode(4, seed=0), made_up_run.episode(12, seed=1))
    path = write_clip(tmp_path / "marks.gif", [ClipRow("marks", films, (True, False))])
    frames = pictures(path)
    assert not contains(frames[0], REACHED)
    assert contains(frames[5], REACHED)
    assert not contains(frames[5], MISSED)
    assert contains(frames[-1], MISSED)


def test_rows_stand_below_each_other(tmp_path: Path) -> None:
    film = made_up_run.episode(3, seed=0)
    one = pictures(write_clip(tmp_path / "one.gif", [ClipRow("happened", (film,))]))[0]
    two = pictures(write_clip(tmp_path / "two.gif", [ClipRow("happened", (film,)), ClipRow("imagined", (film,))]))[0]
    assert two.width == one.width
    assert two.height > 1.9 * one.height


def test_a_caption_that_is_too_long_is_broken_into_lines(tmp_path: Path) -> None:
    film = made_up_run.episode(2, seed=0)
    short = pictures(write_clip(tmp_path / "short.gif", [ClipRow("short", (film,))]))[0]
    long = pictures(write_clip(tmp_path / "long.gif", [ClipRow("quite a number of words " * 3, (film,))]))[0]
    assert long.width == short.width
    assert long.height >= short.height + 40


def test_camera_noise_does_not_make_a_clip_large(tmp_path: Path) -> None:
    films = tuple(made_up_run.episode(24, seed) for seed in range(4))
    path = write_clip(tmp_path / "noise.gif", [ClipRow("noise", films)])
    assert path.stat().st_size < 400_000


def test_every_clip_has_a_still(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.gif", [ClipRow("clip", (made_up_run.episode(6, seed=0),))])
    with Image.open(path.with_suffix(".png")) as still:
        assert np.array_equal(np.asarray(still.convert("RGB")), np.asarray(pictures(path)[-1]))


def test_the_imagined_clip_says_when_the_model_stops_seeing(tmp_path: Path) -> None:
    traces = made_up_run.traces(length=20, context=5)
    path = write_imagined_clip(tmp_path / "imagined.gif", made_up_run.episode(20, seed=0), traces)
    frames = pictures(path)
    assert len(frames) == 20
    titles = [np.asarray(frame)[:28, :260] for frame in frames]
    assert np.array_equal(titles[0], titles[4])
    assert not np.array_equal(titles[4], titles[5])
    assert np.array_equal(titles[5], titles[19])


def test_of_a_large_state_the_positions_that_move_are_drawn() -> None:
    names = ("speed_m_per_s", "rest_x_m", "gripper_x_m", "gripper_y_m", "angle_rad")
    happened = np.linspace(0, 1, 10, dtype=np.float32)[:, None] * np.array([9, 0, 0.2, 0.3, 2], np.float32)
    traces = Traces(names, happened, happened, context=3)
    assert traces.most_telling(2).names == ("gripper_x_m", "gripper_y_m")
    assert traces.most_telling(4).names == ("speed_m_per_s", "rest_x_m", "gripper_x_m", "gripper_y_m")
    assert traces.most_telling(9).names == names


def test_a_value_that_is_not_finite_leaves_a_gap(tmp_path: Path) -> None:
    traces = made_up_run.traces(length=20)
    traces.imagined[8:10, 0] = np.nan
    traces.imagined[:, 1] = np.nan
    traces.happened[:, 1] = np.nan
    write_imagined_clip(tmp_path / "gap.gif", made_up_run.episode(20, seed=0), traces)
    assert (tmp_path / "gap.gif").exists()


FILM = np.zeros((3, 64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("film", "named"),
    [
        (FILM[:0], r"\(0, 64, 64, 3\)"),
        (FILM[0], r"\(64, 64, 3\) uint8"),
        (FILM[..., :1], r"\(3, 64, 64, 1\)"),
        (FILM.astype(np.float32), "float32"),
    ],
)
def test_films_of_another_shape_or_type_are_refused_by_name(film: np.ndarray, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ClipRow("row", (film,))


def test_rows_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 outcomes for 1 episodes"):
        ClipRow("row", (FILM,), (True, False))
    with pytest.raises(ValueError, match="has no episodes"):
        ClipRow("row", ())
    with pytest.raises(ValueError, match="has no rows"):
        write_clip(tmp_path / "none.gif", [])


def test_traces_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    values = np.zeros((8, 2), np.float32)
    with pytest.raises(ValueError, match="context = 8 is not allowed: from 1 to 7"):
        Traces(("a_m", "b_m"), values, values, context=8)
    with pytest.raises(ValueError, match=r"\(8, 2\).*\[T, 3\]"):
        Traces(("a_m", "b_m", "c_m"), values, values, context=4)
    with pytest.raises(ValueError, match="film has 3 frames, the traces have 8"):
        write_imagined_clip(tmp_path / "no.gif", FILM, Traces(("a_m", "b_m"), values, values, context=4))
