"""A Franka arm's double in a process of its own: franky-sim speaks libfranka's protocol over a simulated FR3.

What its joints do is written into a file as it happens, so that a test sees the arm whoever is connected to it.

    python franka_double.py FILE      prints the address once it listens
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from deploy.robot.runtime.kinematics import gripper_at

_HERE = Path(__file__)
FIELDS = np.dtype([("step", "f8"), ("q", "f8", 7), ("dq", "f8", 7), ("q_d", "f8", 7)])


def serve(file: str) -> None:
    import franky_sim
    from franky_sim.mujoco_simulator import MujocoSimulator

    shown = np.memmap(file, FIELDS, "w+", shape=(1,))
    with MujocoSimulator(enable_visualization=False) as simulator:
        robot = simulator.add_robot()
        steps = 0

        def show(_: object) -> None:
            nonlocal steps
            steps += 1
            if steps % 5 == 0:
                inner = robot.inner_state
                shown[0] = (steps, inner.q, inner.dq, robot.state.q_d)

        simulator.register_post_step_callback(show)
        with franky_sim.SimulationServer(simulator) as server:
            print(robot.hostname, flush=True)
            server.run_forever()


class FrankaDouble:
    """The running double."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "joints"
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE), str(self._file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.host = self._process.stdout.readline().strip()
        assert self.host.startswith("127."), "franky-sim did not come up"
        self._shown = np.memmap(self._file, FIELDS, "r", shape=(1,))

    @property
    def joints(self) -> np.ndarray:
        return np.array(self._shown[0]["q"])

    @property
    def commanded(self) -> np.ndarray:
        return np.array(self._shown[0]["q_d"])

    @property
    def speed(self) -> float:
        """Of the gripper, metres per second; the simulated hand's own turning (0.08 rad/s, always) moves it nowhere."""
        joints, instant = self.joints, 1e-4
        moved = gripper_at(joints + instant * np.array(self._shown[0]["dq"]))
        return float(np.linalg.norm(np.subtract(moved, gripper_at(joints))) / instant)

    def wait(self, seconds: float) -> None:
        """For so long of the double's own time, which falls behind on a busy machine."""
        begun = float(self._shown[0]["step"])
        give_up = time.monotonic() + 60
        while self._shown[0]["step"] < begun + 1000 * seconds and time.monotonic() < give_up:
            time.sleep(0.002)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
