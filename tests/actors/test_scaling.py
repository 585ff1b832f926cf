"""The pool's size against a simulated learner and simulated nodes, on a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from actors.config import ActorsConfig
from actors.scaling import BUSY, DEAD_BAND, PoolSizer

STEP_SECONDS = 5.0


@dataclass
class Plant:
    """Actors that make `rate` rows/s each, and a learner that uses `capacity` rows/s; actors come after `delay` s.

    The limiter passes on what both allow: whoever could do more waits.
    """

    rate: float
    capacity: float
    config: ActorsConfig
    delay: float = 15.0
    now: float = 0.0
    running: int = 0
    wanted: int = 0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    history: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sizer = PoolSizer(self.config, self.now)
        self.resize(self.config.at_start)

    def resize(self, count: int) -> None:
        if count > self.wanted:
            self.arrivals.append((self.now + self.delay, count - self.wanted))
        else:
            leave = self.wanted - count
            while leave and self.arrivals:
                when, some = self.arrivals.pop()
                if some > leave:
                    self.arrivals.append((when, some - leave))
                leave -= min(some, leave)
            self.running -= leave
        self.wanted = count

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / STEP_SECONDS)):
            self.now += STEP_SECONDS
            self.running += sum(some for when, some in self.arrivals if when <= self.now)
            self.arrivals = [(when, some) for when, some in self.arrivals if when > self.now]
            supply = self.running * self.rate
            flow = min(supply, self.capacity)
            decision = self.sizer.decide(
                self.now,
                wanted=self.wanted,
                running=self.running,
                actors_waited=1.0 - flow / supply if supply else 0.0,
                learner_waited=1.0 - flow / self.capacity,
            )
            if decision is not None:
                self.resize(decision.actors)
                self.reasons.append(decision.reason)
            self.history.append(self.wanted)


def elastic(**limits: int) -> ActorsConfig:
    return ActorsConfig(**{"count": 1, "min": 1, "max": 100, "resize_seconds": 30.0, **limits})


@pytest.mark.parametrize("capacity", [100.0, 1000.0, 5000.0])
def test_it_grows_to_what_the_learner_can_use_and_stays_there(capacity: float) -> None:
    plant = Plant(rate=100.0, capacity=capacity, config=elastic())
    plant.run(1200)
    needed = capacity / 100.0 / BUSY
    assert plant.wanted <= needed / (1.0 - DEAD_BAND) + 1
    assert len(set(plant.history[-100:])) == 1, "no oscillation once it is right"
    assert plant.running * 100.0 >= capacity, "the learner does not wait"


def test_it_shrinks_when_the_learner_is_saturated_and_keeps_the_fewest() -> None:
    plant = Plant(rate=100.0, capacity=250.0, config=elastic(count=64, min=2))
    plant.run(600)
    assert 3 <= plant.wanted <= 4
    plant.capacity = 10.0
    plant.run(600)
    assert plant.wanted == plant.running == 2


def test_it_never_leaves_its_limits() -> None:
    plant = Plant(rate=1.0, capacity=1e6, config=elastic(max=7))
    plant.run(600)
    assert max(plant.history) == plant.wanted == 7
    assert "allowed are 1 to 7" in plant.reasons[-1]


def test_it_follows_a_learner_that_becomes_faster_and_slower() -> None:
    plant = Plant(rate=100.0, capacity=400.0, config=elastic())
    found = []
    for capacity in (400.0, 2000.0, 400.0):
        plant.capacity = capacity
        plant.run(900)
        found.append(plant.wanted)
    assert found[0] == found[2]
    assert found[1] > 4 * found[0]


def test_nodes_that_never_come_are_not_asked_for_again_and_again() -> None:
    plant = Plant(rate=100.0, capacity=5000.0, config=elastic(), delay=15.0)
    plant.run(100)
    plant.delay = 1e9
    plant.run(600)
    stuck = plant.wanted
    plant.run(3600)
    assert plant.wanted == stuck <= 2 * plant.running


def test_where_both_wait_for_other_limiters_more_actors_do_not_help() -> None:
    """The student holds the actors up 88 % of the time, while the teacher waits 40 %: fewer would do."""
    sizer = PoolSizer(elastic(count=10), 0.0)
    decision = sizer.decide(30.0, wanted=10, running=10, actors_waited=0.88, learner_waited=0.4)
    assert decision is not None
    assert decision.actors < 10


def test_nothing_is_decided_before_its_time_or_before_the_first_actor_is_there() -> None:
    sizer = PoolSizer(elastic(), 0.0)
    assert sizer.decide(29.0, wanted=1, running=1, actors_waited=0.0, learner_waited=1.0) is None
    idle = PoolSizer(elastic(), 0.0)
    assert idle.decide(30.0, wanted=1, running=0, actors_waited=0.0, learner_waited=1.0) is None


def test_a_pool_of_fixed_size_is_never_changed() -> None:
    sizer = PoolSizer(ActorsConfig(count=3), 0.0)
    assert sizer.decide(1e6, wanted=3, running=3, actors_waited=0.0, learner_waited=1.0) is None


def test_the_reason_names_what_was_measured() -> None:
    sizer = PoolSizer(elastic(count=4), 0.0)
    sizer.decide(15.0, wanted=4, running=4, actors_waited=0.0, learner_waited=0.5)
    decision = sizer.decide(30.0, wanted=4, running=4, actors_waited=0.1, learner_waited=0.3)
    assert decision is not None
    assert decision.reason == "of 4 actors' time 5% is waiting, of the learner's 40%: 4 -> 7 actors"


@pytest.mark.parametrize(
    ("given", "start"),
    [
        ({"count": 3}, 3),
        ({"count": 1, "min": 2, "max": 9}, 2),
        ({"count": 20, "max": 9}, 9),
        ({"count": 5, "max": 9}, 5),
    ],
)
def test_the_pool_begins_inside_its_limits(given: dict[str, int], start: int) -> None:
    assert ActorsConfig(**given).at_start == start


def test_a_least_number_above_the_most_is_refused() -> None:
    with pytest.raises(ValueError, match="min=5: allowed are 1 to max=4"):
        ActorsConfig(min=5, max=4)
