"""A run directory with generated data: what a finished run leaves, without the run."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deploy.reporting.clips import ClipRow, Frames, Traces, write_clip, write_imagined_clip
from deploy.reporting.curves import write_curves
from deploy.runs.report import Faults, Report, write_report
from deploy.runs.results import EvaluationResult, MotionFigures


def episode(length: int, seed: int) -> Frames:
    """A white square that moves to a red one, [length, 64, 64, 3], with a little camera noise."""
    random = np.random.default_rng(seed)
    ground = np.full((64, 64, 3), random.integers(60, 190, 3), np.float64)
    ground[:24] = random.integers(60, 190, 3)
    frames = []
    for t in range(length):
        frame = ground.copy()
        frame[44:51, 46:53] = (205, 45, 40)
        x = round(6 + 38 * t / max(1, length - 1))
        frame[20 + x // 2 : 29 + x // 2, x : x + 9] = (235, 235, 240)
        frames.append(np.clip(frame + random.normal(0, 3, frame.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


def traces(length: int = 24, context: int = 6) -> Traces:
    """Six dimensions of which the imagined ones drift away."""
    time = np.arange(length, dtype=np.float32)
    happened = np.stack([0.2 * np.sin(time / 7 + k) for k in range(6)], axis=1).astype(np.float32)
    drift = np.maximum(0, time - context)[:, None] * np.linspace(0, 0.004, 6, dtype=np.float32)
    names = ("gripper_x_m", "gripper_y_m", "gripper_z_m", "ball_x_m", "ball_y_m", "ball_z_m")
    return Traces(names, happened, (happened + drift).astype(np.float32), context)


MOTION = MotionFigures(
    flips=0.034, swing_m=0.0042, beyond_joint_speed=0.0, beyond_joint_acceleration=0.012, contact_m_per_s=None
)


def results(held_out_successes: int = 96, motion: MotionFigures | None = MOTION) -> tuple[EvaluationResult, ...]:
    """The three rows of the headline, 100 episodes each."""
    return tuple(
        EvaluationResult.from_counts(
            policy, domain, episodes=100, successes=successes, mean_return=back, seed=7, motion=motion
        )
        for policy, domain, successes, back in (
            ("teacher", "train", 100, 21.4),
            ("student", "train", 98, 20.7),
            ("student", "held_out", held_out_successes, 19.9),
        )
    )


def report(**changes: Any) -> Report:
    """A report as a run makes it."""
    values: dict[str, Any] = {
        "run_id": "reach-20261120-4f1c",
        "task": "reach",
        "mode": "local",
        "seed": 3,
        "env_steps": 30_000,
        "wall_seconds": 283.4,
        "evaluations": results(),
        "updates": {"teacher": 3000, "student": 3000},
        "replay_ratios": {"teacher": 51.2, "student": 38.4},
        "waiting": {"teacher": 0.04, "student": 0.0, "actors": 0.31},
        "faults": Faults(resumed=1, restarts={"killed": 2}, crashes=0, quarantined=1, lost_rows=0),
        "versions": {"python": "3.11.7", "twist": "0.1.0", "torch": "2.13.0"},
    }
    return Report(**(values | changes))


def metrics_rows(lines: int = 120, *, resumed_at: int | None = 60) -> Iterator[dict[str, Any]]:
    """Lines of a run that learns; one minute of pause and an event line where it is resumed."""
    random = np.random.default_rng(0)
    now = 1_800_000_000.0
    for line in range(lines):
        step = 250 * (line + 1)
        now += 2.0
        if line == resumed_at:
            now += 60.0
            yield {"time": now, "step": step - 250, "kind": "event", "event": "resumed"}
        teacher, student = (1 / (1 + math.exp(-(step - middle) / 2500)) for middle in (9000, 15000))
        yield {
            "time": now,
            "step": step,
            "kind": "train",
            "actors/success_teacher": teacher,
            "actors/success_student": student if step > 6000 else None,
            **{
                f"teacher/loss_{term}": scale * math.exp(-step / 8000) + 0.02 * random.random()
                for term, scale in (("state", 2.0), ("reward", 4.0), ("dynamics", 8.0), ("policy", -0.3))
            },
            **{
                f"student/loss_{term}": scale * math.exp(-step / 12000) + 0.05 * random.random()
                for term, scale in (("posterior", 30.0), ("prior", 20.0), ("deter", 1.0), ("imagination", 9.0))
            },
            "teacher/updates": line * 25,
            "rate/env_steps": 125 + 20 * random.random(),
            "rate/teacher_updates": 8 + random.random(),
            "rate/student_updates": 5 + random.random(),
            "wait/teacher": 0.05 * random.random(),
            "wait/student": 0.02 * random.random(),
            "wait/actors": 0.3 + 0.05 * random.random(),
        }
    for result in results():
        yield {"time": now + 20, "step": step, "kind": "evaluation", **result.metrics()}


def write_metrics(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """As the run's writer does: one JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_run(run: Path) -> Path:
    """Everything that the page shows."""
    (run / "clips").mkdir(parents=True)
    write_metrics(run / "metrics.jsonl", metrics_rows())
    write_curves(run / "metrics.jsonl", run / "curves")
    for name, caption in (
        ("teacher", "teacher, acting from the state"),
        ("student_train", "student, training visuals"),
        ("student_held_out", "student, held-out visuals"),
    ):
        films = tuple(episode(18 + 2 * k, seed=k) for k in range(4))
        write_clip(run / "clips" / f"{name}.gif", [ClipRow(caption, films, (True, True, name == "teacher", True))])
    write_imagined_clip(run / "clips" / "student_imagined.gif", episode(24, seed=9), traces())
    worlds = np.concatenate([np.concatenate([episode(1, 8 * y + x)[0] for x in range(8)], axis=1) for y in range(4)])
    Image.fromarray(worlds).resize((1024, 512), Image.Resampling.NEAREST).save(run / "worlds.png")
    config = {
        "task": "reach",
        "mode": "local",
        "seed": 3,
        "learner": {"batch_size": 16, "teacher": {"learning_rate": 6e-4}},
        "sim": {"image_size": 64, "visual": {"hue_band": [0.0, 0.5], "lights": True}},
    }
    document = {"format": 1, "run_id": "reach-20261120-4f1c", "created": "2026-11-20", "config": config}
    (run / "config.json").write_text(json.dumps(document))
    write_report(run / "report.json", report())
    return run
