"""`twist adapt`: a bundle's student fitted to a robot's recording, as a new bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deploy.commands.arguments import Parser, path, whole
from deploy.errors import RunEndedError, UserError
from deploy.process.extras import EXPORTER, require_extra
from deploy.process.places import require_directory


def run(arguments: list[str]) -> int:
    """Runs `twist adapt` and gives its exit code: 0 it became better and is written, 1 it did not."""
    parser = Parser(
        "adapt",
        "Fits how pictures are understood (image encoder and posterior) to a recording of one robot; policy, heads and "
        "recurrence stay. The recording's last quarter judges it; a new bundle is written if it became better.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=path, help="that ran when the recording was made; it stays")
    parser.add_argument("target", metavar="NEW", type=path, help="bundle to write")
    parser.add_argument("--recording", metavar="DIR", type=path, required=True, help="of `twist run --record`")
    parser.add_argument("--policy", metavar="RUN", required=True, help="what BUNDLE was exported from")
    parser.add_argument("--updates", metavar="N", type=whole(1), default=200, help="of the student (default: 200)")
    parser.add_argument("--simulated", metavar="N", type=whole(1), default=40, help="episodes beside it (default: 40)")
    parser.add_episodes(100, "normal ones, to calibrate when the policy is out of its depth")
    given = parser.parse_args(arguments)

    require_extra("twist adapt", *EXPORTER)
    require_directory(given.target)
    if given.target.resolve() == given.bundle.resolve():
        raise UserError(f"{given.target}: is BUNDLE, which stays; NEW is another directory")
    from deploy.remote.run import local_run
    from deploy.robot import adapting
    from deploy.robot.export import export, require_replaceable
    from deploy.robot.runtime.policy import load
    from deploy.robot.runtime.recording import read_recording
    from deploy.robot.said import runtime_errors
    from deploy.runs.policy_source import find_policy
    from learner.adaptation import AdaptationConfig

    require_replaceable(given.target)
    with local_run(given.policy) as found, tempfile.TemporaryDirectory() as scratch:
        source = find_policy(found)
        with runtime_errors():
            bundle, recording = load(given.bundle), read_recording(given.recording)
        adapting.require_same_policy(bundle.contract, source)
        adapting.require_same_bundle(bundle.contract, bundle.manifest.sha256, recording)
        found_in = (adapting.robot_episode(bundle.contract, each) for each in recording.episodes())
        recorded = [episode for episode in found_in if episode is not None]
        learned, reserved = adapting.split(recorded, given.recording)
        networks = adapting.distilled(source)
        before = adapting.judge(networks, reserved)
        simulated = list(adapting.simulated_episodes(networks, source.config, given.simulated))
        for terms in adapting.fit(networks, source.config, learned, simulated, AdaptationConfig(updates=given.updates)):
            last = terms
        after = adapting.judge(networks, reserved)
        print(f"{len(learned)} episodes to learn from, {len(reserved)} reserved; " + _line(last))
        for name, judged in (("before", before), ("after", after)):
            print(
                f"{name}: gripper {judged.read_mm:.1f} mm off as read off a picture, {judged.believed_mm:.1f} mm as "
                f"the latent has it; surprise {judged.surprise:.2f} nats"
            )
        if not after.better_than(before):
            raise RunEndedError(f"{given.recording}: its reserved part became no better; nothing is written")
        adapted = adapting.write_adapted(source, networks, Path(scratch) / "policy")
        made = export(adapted, given.target, episodes=given.episodes, adapted_from=bundle.manifest.sha256)
    print(f"{given.target}: bundle {made.manifest.sha256[:12]}, adapted from {bundle.manifest.sha256[:12]}")
    return 0


def _line(terms: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
