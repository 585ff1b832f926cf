"""`twist eval`: success of a trained policy."""

from __future__ import annotations

import json

from deploy.commands.arguments import Parser, path
from deploy.process.extras import require_extra
from deploy.process.places import require_file
from learner.methods import DRIVERS
from sim.config import WORLDS

_WHERE = {"pybullet": "", "mujoco": " of MuJoCo's world"}


def run(arguments: list[str]) -> int:
    """Runs `twist eval` and gives its exit code."""
    parser = Parser("eval", "Success of a trained policy, with its 95 % interval.")
    parser.add_run("a run or a packed policy, by path or URL, or pretrained/NAME")
    parser.add_domain()
    parser.add_argument(
        "--world",
        choices=WORLDS,
        help="whose physics and pictures: mujoco is another world, which no policy was trained in unless its run's "
        "settings say so (default: as they say)",
    )
    parser.add_argument(
        "--policy",
        choices=tuple(DRIVERS),
        help="teacher: from the simulator's state; the others: from camera images (default: the method's own that sees "
        "images)",
    )
    parser.add_episodes(100, "how many")
    parser.add_seed()
    parser.add_json()
    parser.add_argument("--clip", metavar="FILE", type=path, help="write some of the episodes: .gif or .mp4")
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote.run import local_run
    from deploy.reporting.motion import MOTION_TITLES, format_motion
    from deploy.runs.documents import validate
    from deploy.runs.policy_source import find_policy
    from deploy.runs.results import MotionFigures

    with local_run(given.run) as found:
        run = find_policy(found)
        if given.clip is not None:
            require_file(given.clip)
            if given.clip.suffix == ".mp4":
                require_extra("a clip as MP4", "dataset", "av")
        from deploy.evaluation.evaluate import evaluate_run

        result = evaluate_run(
            run,
            policy=given.policy,
            domain=given.domain,
            episodes=given.episodes,
            seed=given.seed,
            clip=given.clip,
            world=given.world,
        )
    if given.json:
        print(json.dumps(result))
    else:
        low, high = result["interval"]
        print(
            f"{result['policy']} on {result['task']} in {result['domain']} visuals{_WHERE[result['world']]}: "
            f"{100 * result['success']:.1f} % of {result['episodes']} episodes "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
        )
        if result["motion"] is not None:
            motion = validate(result["motion"], MotionFigures)
            print(", ".join(map(": ".join, zip(MOTION_TITLES, format_motion(motion), strict=True))))
    return 0
