"""States of format 2, in which the deviations of `GaussianLoss` were parameters, made into states of format 3.

    format 2                                            format 3
    <module>/state_loss.log_deviation                   <module>/state_loss.mean_square, .updates
    teacher/<n>/...   a moment for each parameter       the same without that parameter: those behind it move up by one

Packed policies and finished runs of that format are read as long as this file is here.
"""

from collections.abc import Mapping

import numpy as np
from torch import nn

from learner import readout, teacher

FORMAT = 2

_DEVIATIONS = {
    "teacher/state_loss": teacher.LEAST_DEVIATION,
    "student/readout_loss": readout.LEAST_DEVIATION,
    "student_average/readout_loss": readout.LEAST_DEVIATION,
}
"""Where they were, and what was added to each."""

Arrays = dict[str, np.ndarray]


def upgraded_weights(arrays: Arrays, teacher_updates: int, student_updates: int) -> Arrays:
    """The weights with buffers in place of the deviations; errors go on being averaged from there."""
    arrays = dict(arrays)
    for loss, least in _DEVIATIONS.items():
        log_deviation = arrays.pop(f"{loss}.log_deviation", None)
        if log_deviation is not None:
            arrays[f"{loss}.mean_square"] = np.square(least + np.exp(log_deviation))
            updates = teacher_updates if loss.startswith("teacher/") else student_updates
            arrays[f"{loss}.updates"] = np.array(updates, np.float32)
    return arrays


def upgraded_training(arrays: Arrays, trained: Mapping[str, nn.Module]) -> Arrays:
    """The moments without those of the deviations.

    Args:
        arrays: of format 2.
        trained: `teacher` and `student` as they are now; a moment's number is its parameter's in them.
    """
    gone = {
        name: _trained_before(trained[name], loss)
        for name, loss in (("teacher", "state_loss"), ("student", "readout_loss"))
    }
    upgraded = {}
    for key, array in arrays.items():
        name, number, *rest = key.split("/")
        if name not in gone or int(number) < gone[name]:
            upgraded[key] = array
        elif int(number) > gone[name]:
            upgraded["/".join((name, str(int(number) - 1), *rest))] = array
    return upgraded


def _trained_before(module: nn.Module, part: str) -> int:
    """How many trainable parameters come before this part of a module: its own first one had that number."""
    count = 0
    for name, child in module.named_children():
        if name == part:
            return count
        count += sum(x.requires_grad for x in child.parameters())
    raise AssertionError(part)
