"""A bundle's policy: three lines to run it, its latent state kept here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .contract import Contract, read_contract
from .familiar import Familiar
from .frames import FrameGate
from .manifest import Manifest, read_manifest
from .refusals import BundleError, FrameError

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """What one picture led to.

    Attributes:
        action: [A] float32 in -1 to 1.
        surprise: KL(posterior | prior) in nats.
        reward: expected here.
        value: expected return, where the policy has a critic.
        state: [S_dim] read off this picture alone, physical units.
        belief: [S_dim] read off the latent state.
        expected: [S_dim] the same, had there been no picture.
        embed: [E] what the encoder makes of the picture.
        deter: [D].
        stoch: [S, K] float32, z: the probabilities of its classes.
    """

    action: NDArray[np.float32]
    surprise: float
    reward: float
    value: float | None
    state: NDArray[np.float32]
    belief: NDArray[np.float32]
    expected: NDArray[np.float32]
    embed: NDArray[np.float32]
    deter: NDArray[np.float32]
    stoch: NDArray[np.float32]


class Policy:
    """See `load`."""

    def __init__(
        self, contract: Contract, manifest: Manifest, familiar: Familiar, session: onnxruntime.InferenceSession
    ) -> None:
        self.contract = contract
        self.manifest = manifest
        self.familiar = familiar
        self._session = session
        self._gate = FrameGate(contract)
        self.reset()

    def reset(self) -> None:
        """Begins an episode: latent state and previous action count as zero."""
        model, size = self.contract.model, len(self.contract.action.entries)
        self._carry: dict[str, Array] = {
            "deter": np.zeros((1, model.deter), np.float32),
            "stoch": np.zeros((1, model.groups, model.classes), np.float32),
            "previous_action": np.zeros((1, size), np.float32),
            "reset": np.ones(1, bool),
        }
        self._gate.reset()

    def select_action(
        self,
        image: Array,
        proprioception: Array | None = None,
        stamp: float | None = None,
        now: float | None = None,
    ) -> NDArray[np.float32]:
        """The action for a picture, [A] in -1 to 1; `contract.action` says what it means.

        Args:
            image: [H, W, 3] uint8 RGB, as `contract.camera` says.
            proprioception: [P], what `contract.proprioception` names; None where it names nothing.
            stamp: when it was exposed, in seconds of any clock; None: not known.
            now: the same clock's time.

        Raises:
            FrameError: picture or proprioception is none that the policy may act on; the latent state is as it was.
        """
        return self.step(image, proprioception, stamp, now).action

    def step(
        self,
        image: Array,
        proprioception: Array | None = None,
        stamp: float | None = None,
        now: float | None = None,
        moved_m: float = 0.0,
    ) -> Step:
        """As `select_action`, with everything that the graph says.

        Args:
            image: see `select_action`.
            proprioception: see there.
            stamp: see there.
            now: see there.
            moved_m: how far the gripper's target has moved since the picture before: one that does not change
                meanwhile is refused.

        Raises:
            FrameError: see there.
        """
        own = self._own(proprioception)
        return self.infer(self._gate.check(image, stamp, now, moved_m), own)

    def infer(self, image: NDArray[np.uint8], proprioception: Array | None = None) -> Step:
        """One step without the gate."""
        names = self.contract.proprioception
        own = {"proprioception": np.asarray(proprioception, np.float32)[None]} if names else {}
        values = self._session.run(None, {"image": image[None], **own, **self._carry})
        out = dict(zip(self.contract.model.outputs, values, strict=True))
        self._carry = {name: out[f"{name}_next"] for name in ("deter", "stoch", "reset")}
        self._carry["previous_action"] = out["action"]
        return Step(
            action=out["action"][0],
            surprise=float(out["surprise"][0]),
            reward=float(out["reward"][0]),
            value=float(out["value"][0]) if "value" in out else None,
            state=out["state"][0],
            belief=out["belief"][0],
            expected=out["expected"][0],
            embed=out["embed"][0],
            deter=out["deter_next"][0],
            stoch=out["stoch_next"][0],
        )

    def _own(self, proprioception: Array | None) -> NDArray[np.float32]:
        """What the robot measures, refused unless it is what the contract names.

        Raises:
            FrameError: it is not.
        """
        names = self.contract.proprioception
        given = np.asarray(() if proprioception is None else proprioception, np.float32)
        if given.shape != (len(names),):
            allowed = f"are {len(names)} numbers: {', '.join(names)}" if names else "is none"
            raise FrameError(f"proprioception has shape {given.shape}; allowed {allowed}")
        if not np.isfinite(given).all():
            raise FrameError(f"proprioception is {given.tolist()}: not finite")
        return given

    def executed(self, action: Array) -> None:
        """Says what was done instead of the last action, [A] in -1 to 1: the model goes on from that."""
        given = np.asarray(action, np.float32).reshape(self._carry["previous_action"].shape)
        self._carry["previous_action"] = np.clip(given, -1.0, 1.0)


def load(bundle: str | Path) -> Policy:
    """The policy of a bundle, all of whose files are compared with the manifest first; it runs on one core.

    Raises:
        BundleError: the bundle is damaged, or not one.
    """
    path = Path(bundle)
    manifest = read_manifest(path)
    contract = read_contract(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            (path / contract.model.file).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise BundleError(f"{path / contract.model.file}: onnxruntime cannot read it: {error}") from error
    outputs = tuple(output.name for output in session.get_outputs())
    if outputs != contract.model.outputs:
        raise BundleError(f"{path / contract.model.file}: gives {outputs}; the contract says {contract.model.outputs}")
    return Policy(contract, manifest, Familiar.read(path), session)
