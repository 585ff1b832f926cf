"""`twist export`: a trained policy as a bundle for a robot."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path
from deploy.process.extras import EXPORTER, require_extra
from deploy.process.places import require_directory


def run(arguments: list[str]) -> int:
    """Runs `twist export` and gives its exit code."""
    parser = Parser(
        "export",
        "Writes a trained policy as a bundle: a LEAPP 1.3 description, one ONNX graph, a contract, a golden trace, a "
        "model card, and what runs it with numpy and onnxruntime alone.",
    )
    parser.add_run("a run or a packed policy, by path or URL, or pretrained/NAME")
    parser.add_argument("target", metavar="BUNDLE", type=path, help="to write; a bundle that is there is replaced")
    parser.add_episodes(100, "normal ones, to calibrate when the policy is out of its depth")
    given = parser.parse_intermixed_args(arguments)

    require_extra("twist export", *EXPORTER)
    from deploy.remote.run import local_run
    from deploy.robot.export import export
    from deploy.runs.policy_source import find_policy

    require_directory(given.target)
    with local_run(given.run) as found:
        made = export(find_policy(found), given.target, episodes=given.episodes)
    print(f"{given.target}: {made.bytes / 1e6:.1f} MB, bundle {made.manifest.sha256[:12]}")
    return 0
