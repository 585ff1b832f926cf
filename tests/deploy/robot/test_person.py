"""What keys ask for, and that the terminal which they come from is as before afterwards."""

from __future__ import annotations

import os
import pty
import termios
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.robot.runtime.contract import Action, ActionEntry, read_contract
from deploy.robot.runtime.person import Keyboard, Wishes


@pytest.fixture
def terms(made: Path) -> Action:
    return read_contract(made).action


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("q", Wishes(stop=True)), (" ", Wishes(hold=True)), ("  ", Wishes()), ("\n", Wishes(step=True)), ("ww", Wishes())],
)
def test_keys(terms: Action, keys: Sequence[str], expected: Wishes) -> None:
    assert Keyboard(terms).pressed(list(keys)) == expected


def test_keys_move_once_a_person_has_taken_over(terms: Action) -> None:
    board = Keyboard(terms)
    assert not board.pressed(["w"]).step
    taken, moving, back = (board.pressed(list(keys)) for keys in ("t", "wr", "t"))
    assert taken.action is not None and not taken.action.any()
    assert moving.action is not None and moving.action.tolist() == [1.0, 0.0, 1.0]
    assert back.action is None
    assert (taken.step, moving.step, back.step) == (False, True, False)


def test_who_takes_over_has_the_fingers_as_they_are(terms: Action) -> None:
    """As in lift: closed on the cube by the policy, they open by `o` alone."""
    opening = ActionEntry("opening", "position", 0.0, 0.08)
    board = Keyboard(replace(terms, entries=(*terms.entries, opening), start_opening_m=0.08))
    taken, closed, moved, back, again = (board.pressed(list(keys)).action for keys in ("t", "c", "w", "t", "t"))
    assert taken is not None and np.isnan(taken[3]) and not taken[:3].any()
    assert closed is not None and closed.tolist() == [0.0, 0.0, 0.0, -1.0]
    assert moved is not None and moved.tolist() == [1.0, 0.0, 0.0, -1.0]
    assert back is None
    assert again is not None and np.isnan(again[3])


def test_keys_come_from_a_terminal_one_by_one_which_is_as_before_afterwards(terms: Action) -> None:
    mine, theirs = pty.openpty()
    with open(theirs, encoding="utf-8") as stream:
        before = termios.tcgetattr(theirs)
        board = Keyboard(terms, stream)
        with pytest.raises(RuntimeError, match="as a test wants it"), board.listening():
            assert board.wishes() == Wishes()
            os.write(mine, b"tw")
            give_up = time.monotonic() + 10
            while not (wishes := board.wishes()).step and time.monotonic() < give_up:
                pass
            assert wishes.action is not None and wishes.action.tolist() == [1.0, 0.0, 0.0]
            os.write(mine, b"q")
            while not board.wishes().stop and time.monotonic() < give_up:
                pass
            assert board.wishes().stop
            raise RuntimeError("as a test wants it")
        assert termios.tcgetattr(theirs) == before
    os.close(mine)
