"""`twist dataset`: recordings of `twist run` as a LeRobotDataset."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path


def run(arguments: list[str]) -> int:
    """Runs `twist dataset` and gives its exit code."""
    parser = Parser("dataset", "Writes recordings of `twist run --record` as one LeRobotDataset v3.0.")
    parser.add_argument("recordings", metavar="RECORDING", type=path, nargs="+", help="directories, of one task")
    parser.add_argument("target", metavar="DIR", type=path, help="to write: a new directory")
    given = parser.parse_intermixed_args(arguments)

    from deploy.errors import user_errors
    from deploy.robot.recorded import write_recordings
    from deploy.robot.runtime.recording import read_recording

    with user_errors():
        recordings = [read_recording(each) for each in given.recordings]
    count = write_recordings(recordings, given.target)
    print(f"{given.target}: {count} episodes")
    return 0
