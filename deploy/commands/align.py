"""`twist align`: where a robot's camera is, and whether that is within what was trained on."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path
from deploy.errors import UserError
from deploy.process.extras import require_extra


def run(arguments: list[str]) -> int:
    """Runs `twist align` and gives its exit code: 0 within what was trained on, 1 not."""
    parser = Parser(
        "align",
        "Finds the camera's place, turn and field of view from pictures of the robot at known joints, and lays the "
        "robot's outline over them in BUNDLE/alignment.html.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=path, help="a directory that `twist export` wrote")
    parser.add_argument(
        "--images", metavar="DIR", type=path, required=True, help="pictures and postures.json, or a recording"
    )
    parser.add_argument(
        "--background",
        metavar="FILE",
        type=path,
        nargs="+",
        default=[],
        help="where there are no masks: pictures with the arm out of sight, best with it on either side, so that its "
        "shadow is not in all of them",
    )
    place = ("X", "Y", "Z")
    parser.add_argument("--eye", metavar=place, type=float, nargs=3, help="where the camera is, about, metres")
    parser.add_argument("--aim", metavar=place, type=float, nargs=3, help="what it looks at, about, metres")
    parser.add_argument("--field-of-view", metavar="DEG", type=float, help="between opposite edges, about")
    given = parser.parse_args(arguments)
    if given.field_of_view is not None and not 1.0 <= given.field_of_view <= 170.0:
        raise UserError(f"--field-of-view is {given.field_of_view}; allowed are 1 to 170")

    require_extra("twist align", "robot", "onnxruntime")
    from deploy.robot.aligning import Start, facts, write_alignment
    from deploy.robot.alignment_pictures import read_pictures
    from deploy.robot.runtime.alignment_file import PAGE
    from deploy.robot.runtime.contract import read_contract
    from deploy.robot.said import runtime_errors

    start = Start(given.eye and tuple(given.eye), given.aim and tuple(given.aim), given.field_of_view)
    with runtime_errors():
        found, beyond = write_alignment(given.bundle, read_pictures(given.images, given.background), start)
        camera = read_contract(given.bundle).camera
    for name, value in facts(found, camera):
        print(f"{name}: {value}")
    for line in beyond:
        print(f"beyond training: {line}")
    print(f"look at {given.bundle / PAGE}: the orange outline has to lie on the robot")
    return 1 if beyond else 0
