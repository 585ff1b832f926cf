"""Which episodes of a method without images a student could learn from: those whose states are the truth."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from deploy.runs.kept_episodes import without_errors
from replay.schema import RANDOM, EpisodeMeta
from sim import SensingConfig
from sim.randomisation import SensingDraw, draw_sensing


@pytest.mark.parametrize(
    ("drawn", "true"),
    [
        (draw_sensing(SensingConfig(), 3), False),
        (draw_sensing(SensingConfig(position_error_m=0.0), 3), True),
        (SensingDraw(), True),
    ],
)
def test_an_episode_tells_whether_its_states_are_true(drawn: SensingDraw, true: bool) -> None:
    randomisation = json.loads(json.dumps({"sensing": asdict(drawn)}))
    assert without_errors(EpisodeMeta(0, 3, "train", RANDOM, randomisation)) is true
