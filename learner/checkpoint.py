"""The learner's state as named arrays and a JSON document; files are safetensors (no pickle).

weights.safetensors     every parameter and buffer, "<module>/<name>": all that an evaluation needs
training.safetensors    Adam's moments and the states of the random generators: what a resumed run needs besides
document                format, observation spec, learner's config, counters

Nothing of it says where it was computed: what a CPU wrote a GPU goes on with, and the other way round.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from learner import format_2
from learner.acting import ActingPolicy
from learner.devices import GENERATOR_BYTES, later_seed
from learner.learner import Learner
from learner.methods import Method
from learner.methods.documents import method_of, updates_of
from learner.tally import NotFiniteError
from learner.weights import to_arrays
from replay.schema import StreamSpec

FORMAT = 3
WEIGHTS = "weights.safetensors"
TRAINING = "training.safetensors"

BEGUN = "begun"
"""In the document, where there are any: see `Learner.begun`."""

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class LearnerState:
    """Everything that a learner is, in plain values that any transport can carry."""

    weights: Arrays
    training: Arrays
    document: dict[str, Any]


def capture(learner: Learner) -> LearnerState:
    """The learner's state; the learner's loops must not be in an update (see `Learner.paused`).

    Raises:
        NotFiniteError: it is not finite, so that nobody could go on with it.
    """
    moments = {
        f"{name}/{index}/{key}": value
        for name, optimiser in learner.optimisers.items()
        for index, held in optimiser.adam.state_dict()["state"].items()
        for key, value in held.items()
    }
    training = _finite(to_arrays(moments)) if moments else {}
    for index, generator in enumerate(learner.generators):
        training[f"generator/{index}"] = generator.get_state().numpy()
    return LearnerState(_finite(module_arrays(learner.modules)), training, _document(learner))


def capture_acting(learner: Learner) -> LearnerState:
    """What acts, and nothing to go on training from; the loops may go on meanwhile, but for milliseconds.

    Raises:
        NotFiniteError: it is not finite.
    """
    with learner.weights_held():
        arrays, document = module_arrays(learner.acting), _document(learner)
    return LearnerState(_finite(arrays), {}, document)


def acting_part(state: LearnerState) -> LearnerState:
    """What `capture_acting` would have given."""
    acts = method_of(state.document).acts
    weights = {key: array for key, array in state.weights.items() if key.partition("/")[0] in acts}
    return LearnerState(weights, {}, state.document)


def restore(learner: Learner, state: LearnerState) -> None:
    """Puts a captured state into a learner of the same spec and sizes.

    A generator of a CPU cannot go on where one of a GPU was, nor the other way round: it begins anew then, from the
    learner's seed and the updates so far, the same ones whenever it begins there.

    Raises:
        ValueError: the state is of another format, spec or sizes; the message names the first difference.
    """
    check_document(state.document, learner.spec)
    _require_method(state.document, learner.method)
    updates = updates_of(state.document)
    weights, training = state.weights, state.training
    if state.document["format"] == format_2.FORMAT:
        weights = format_2.upgraded_weights(weights, updates["teacher"], updates["student"])
        training = format_2.upgraded_training(training, learner.modules)
    load_modules(learner.modules, weights)
    for index, (part, generator) in enumerate(zip(learner.parts, learner.generators, strict=True)):
        done = updates[part.name]
        for name, optimiser in learner.optimisers_of(part.name).items():
            optimiser.load(_moments(name, optimiser.parameters, training, at_least=1 if done > 0 else 0))
        _restore_generator(generator, training, index, learner.seed, done)
    learner.resume_counters(updates, state.document.get(BEGUN, ()))


def _restore_generator(generator: torch.Generator, arrays: Arrays, index: int, seed: int, updates: int) -> None:
    key, size = f"generator/{index}", len(generator.get_state())
    found = arrays.get(key)
    if found is not None and found.size != size and found.size in GENERATOR_BYTES.values():
        generator.manual_seed(later_seed(seed, index, updates))
    else:
        generator.set_state(_array(arrays, key, (size,)))


def load_acting(policy: ActingPolicy, weights: Arrays, document: Mapping[str, Any]) -> None:
    """Puts a state's weights into the networks that act.

    Raises:
        ValueError: the checkpoint is of another format, spec or sizes.
    """
    check_document(document, None)
    _require_method(document, policy.method)
    updates = updates_of(document)
    if document["format"] == format_2.FORMAT:
        weights = format_2.upgraded_weights(weights, updates["teacher"], updates["student"])
    load_modules(policy.networks, weights)
    for name, progress in policy.progress.items():
        progress.updates.fill_(updates[name])
    policy.version = sum(updates.values())


def _require_method(document: Mapping[str, Any], method: Method) -> None:
    found = method_of(document)
    if found is not method:
        raise ValueError(f"learner state is of method {found.name}; its settings ask for {method.name}")


def write(state: LearnerState, directory: Path) -> None:
    """Writes both files into an existing directory; the document is the caller's to store."""
    write_weights(state, directory)
    _write_file(state.training, directory / TRAINING)


def write_weights(state: LearnerState, directory: Path) -> None:
    """Writes what `read_weights` reads into an existing directory."""
    _write_file(state.weights, directory / WEIGHTS)


def _write_file(arrays: Arrays, file: Path) -> None:
    save_file(arrays, file)
    file.chmod(0o644)  # the library's 0600 would hide a run from those who may read its directory


def read(directory: Path, document: Mapping[str, Any]) -> LearnerState:
    """Reads what `write` wrote."""
    return LearnerState(load_file(directory / WEIGHTS), load_file(directory / TRAINING), dict(document))


def read_weights(directory: Path) -> Arrays:
    """Reads the weights alone."""
    return dict(load_file(directory / WEIGHTS))


def check_document(document: Mapping[str, Any], spec: StreamSpec | None) -> None:
    """Refuses a state of another format, of an unknown method, or, where `spec` is given, of other observations.

    Raises:
        ValueError: naming what differs.
    """
    if document.get("format") not in (format_2.FORMAT, FORMAT):
        raise ValueError(
            f"learner state has format {document.get('format')}; this version reads formats {format_2.FORMAT} and "
            f"{FORMAT}"
        )
    updates_of(document)
    if spec is not None:
        spec.require_equal(StreamSpec.from_json(document["spec"]), "the checkpoint")


def _document(learner: Learner) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "spec": learner.spec.to_json(),
        "config": dataclasses.asdict(learner.config),
        **{f"{name}_updates": count for name, count in learner.updates.items()},
        **({BEGUN: learner.begun} if learner.begun else {}),
    }


def module_arrays(modules: Mapping[str, nn.Module]) -> Arrays:
    """All parameters and buffers as "<module>/<name>"."""
    return to_arrays(
        {
            f"{module_name}/{name}": tensor
            for module_name, module in modules.items()
            for name, tensor in module.state_dict().items()
        }
    )


def _finite(arrays: Arrays) -> Arrays:
    """The same.

    Raises:
        NotFiniteError: naming the first array that is not finite.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise NotFiniteError(f"{name} is not finite; nothing is written of such a learner")
    return arrays


def load_modules(modules: Mapping[str, nn.Module], arrays: Arrays) -> None:
    """Copies arrays made by `module_arrays` into modules of the same structure.

    Raises:
        ValueError: an array is missing or has another shape.
    """
    for module_name, module in modules.items():
        for name, tensor in module.state_dict().items():
            tensor.copy_(_array(arrays, f"{module_name}/{name}", tuple(tensor.shape)))


def _moments(
    name: str, parameters: Sequence[torch.Tensor], arrays: Arrays, at_least: int
) -> dict[int, dict[str, torch.Tensor]]:
    """Adam's state of one optimiser by its parameters' numbers; a parameter that never had a gradient has none."""
    held = {int(key.split("/")[1]) for key in arrays if key.startswith(f"{name}/")}
    moments = {}
    for index in sorted(held | set(range(at_least))):
        if index >= len(parameters):
            raise ValueError(f"checkpoint has a moment of {name}/{index}; this model has {len(parameters)} parameters")
        parameter, key = parameters[index], f"{name}/{index}"
        moments[index] = {"step": _array(arrays, f"{key}/step", ())}
        for moment in ("exp_avg", "exp_avg_sq"):
            # Torch's fused Adam walks parameter and moments in memory order, so the strides must be the parameter's.
            laid_out = torch.empty_like(parameter, device="cpu", requires_grad=False)
            moments[index][moment] = laid_out.copy_(_array(arrays, f"{key}/{moment}", tuple(parameter.shape)))
    return moments


def _array(arrays: Arrays, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    found = arrays.get(key)
    if found is None or tuple(found.shape) != shape:
        what = "is missing" if found is None else f"has shape {tuple(found.shape)}"
        raise ValueError(f"checkpoint's {key} {what}; this model has {shape}")
    return torch.from_numpy(found.copy())
