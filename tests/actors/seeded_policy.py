"""A policy for tests: real actions from a seeded generator, and a log of what it was asked."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Question:
    """The arguments of one batched step, and the recurrent state that it was handed."""

    carry: np.ndarray
    state: np.ndarray
    image: np.ndarray | None
    is_first: np.ndarray
    student: np.ndarray


class SeededPolicy:
    """Its recurrent state counts, per environment, the steps since the episode began."""

    def __init__(self, action_dim: int, seed: int = 0) -> None:
        self.version = 0
        self.student_ready = False
        self.questions: list[Question] = []
        self._action_dim = action_dim
        self._rng = np.random.default_rng(seed)

    def load(self, flat: np.ndarray, version: int) -> None:
        self.student_ready = bool(flat[0] > 0)
        self.version = version

    def driver(self, sees: str) -> str | None:
        if self.version == 0 or (sees == "image" and not self.student_ready):
            return None
        return {"state": "teacher", "image": "student"}[sees]

    def initial(self, n: int) -> np.ndarray:
        return np.zeros(n, int)

    def step(
        self,
        carry: np.ndarray,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        student: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        assert explore
        carry = np.where(is_first, 0, carry + 1)
        self.questions.append(Question(carry, state.copy(), image, is_first.copy(), student.copy()))
        return self._rng.uniform(-1, 1, (len(state), self._action_dim)).astype(np.float32), carry

    def merged(self, before: np.ndarray, after: np.ndarray, moved: np.ndarray) -> np.ndarray:
        return np.where(moved, after, before)
