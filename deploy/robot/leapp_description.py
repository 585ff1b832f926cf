"""NAME.yaml and NAME_initial_values.safetensors: the bundle as LEAPP 1.3 describes one.

NVIDIA's Isaac Lab exports such bundles and Isaac ROS Deploy runs them. What LEAPP has no words for is in the block
`twist`, which its readers pass over, and in contract.json, to which it points. Executed actions that differ from the
policy's are known to our runtime alone: here an action is its own successor's `previous_action`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from deploy.robot.runtime.contract import CONTRACT, Contract
from deploy.robot.runtime.golden import GOLDEN

LEAPP_CONFIG_VERSION = "1.3"
NODE = "policy"


def write_description(bundle: Path, contract: Contract) -> None:
    """Writes both files beside the ONNX file, which must be there."""
    initial = f"{contract.name}_initial_values.safetensors"
    save_file({f"{NODE}/{name}": array for name, array in _initial_values(contract).items()}, bundle / initial)
    (bundle / initial).chmod(0o644)  # the library's 0600 would hide it from the robot's user
    document = _document(bundle, contract, initial)
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120)
    (bundle / f"{contract.name}.yaml").write_text(text, encoding="utf-8")


def _initial_values(contract: Contract) -> dict[str, np.ndarray]:
    model = contract.model
    return {
        "deter": np.zeros((1, model.deter), np.float32),
        "stoch": np.zeros((1, model.groups, model.classes), np.float32),
        "previous_action": np.zeros((1, len(contract.action.entries)), np.float32),
        "reset": np.ones(1, np.bool_),
    }


def _document(bundle: Path, contract: Contract, initial: str) -> dict[str, Any]:
    content = (bundle / contract.model.file).read_bytes()
    outputs = [name for name in contract.model.outputs if not name.endswith("_next")]
    return {
        "models": {
            NODE: {
                "inputs": _inputs(contract),
                "outputs": _outputs(contract),
                "parameters": {
                    "model_path": contract.model.file,
                    "md5sum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
                    "sha256sum": hashlib.sha256(content).hexdigest(),
                    "backend": "onnx",
                    "opset_version": contract.model.opset,
                },
            }
        },
        "pipeline": {
            "configs": {"frequency": contract.action.rate_hz},
            "data_flow": {},
            "feedback_flow": {
                f"{NODE}/deter_next": [f"{NODE}/deter"],
                f"{NODE}/stoch_next": [f"{NODE}/stoch"],
                f"{NODE}/action": [f"{NODE}/previous_action"],
                f"{NODE}/reset_next": [f"{NODE}/reset"],
            },
            "initial_values": initial,
            "inputs": {NODE: ["image", *(["proprioception"] if contract.proprioception else [])]},
            "outputs": {NODE: outputs},
        },
        "system information": {
            "leapp config version": LEAPP_CONFIG_VERSION,
            "created by": f"twist {contract.origin.twist}",
        },
        "twist": {"contract": CONTRACT, "golden_trace": GOLDEN, "run_id": contract.origin.run_id},
    }


def _tensor(name: str, dtype: str, shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape), "type": "tensor", **more}


def _inputs(contract: Contract) -> list[dict[str, Any]]:
    model, actions = contract.model, [entry.name for entry in contract.action.entries]
    measured = contract.proprioception
    own = [_tensor("proprioception", "float32", (1, len(measured)), element_names=_names(measured))]
    return [
        _tensor("image", "uint8", (1, *contract.camera.shape), kind="camera/rgb"),
        *(own if measured else []),
        _tensor("deter", "float32", (1, model.deter)),
        _tensor("stoch", "float32", (1, model.groups, model.classes)),
        _tensor(
            "previous_action",
            "float32",
            (1, len(actions)),
            element_names=_names(actions),
        ),
        _tensor("reset", "bool", (1,)),
    ]


def _outputs(contract: Contract) -> list[dict[str, Any]]:
    model = contract.model
    size = len(contract.state.names)
    described = {
        "action": _tensor(
            "action",
            "float32",
            (1, len(contract.action.entries)),
            kind="target/body/position",
            element_names=_names(entry.name for entry in contract.action.entries),
        ),
        "reward": _tensor("reward", "float32", (1,)),
        "value": _tensor("value", "float32", (1,)),
        "state": _tensor("state", "float32", (1, size), element_names=_names(contract.state.names)),
        "belief": _tensor("belief", "float32", (1, size), element_names=_names(contract.state.names)),
        "expected": _tensor("expected", "float32", (1, size), element_names=_names(contract.state.names)),
        "embed": _tensor("embed", "float32", (1, model.embed)),
        "surprise": _tensor("surprise", "float32", (1,)),
        "deter_next": _tensor("deter_next", "float32", (1, model.deter)),
        "stoch_next": _tensor("stoch_next", "float32", (1, model.groups, model.classes)),
        "reset_next": _tensor("reset_next", "bool", (1,)),
    }
    return [described[name] for name in model.outputs]


def _names(names: Iterable[str]) -> list[list[str]]:
    """Of each axis; of B there is one."""
    return [["0"], list(names)]
