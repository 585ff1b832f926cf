"""`twist distil`: a new student for a finished run's teacher."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from deploy.commands.arguments import Parser, place
from deploy.process.places import is_url, require_directory
from deploy.remote.storage import EXAMPLES
from deploy.settings.help import describe_settings, option_help


def run(arguments: list[str]) -> int:
    """Runs `twist distil`.

    Returns:
        The exit code.

    Raises:
        UserError: what was asked for cannot be.
    """
    parser = Parser(
        "distil",
        "Trains a new student for the teacher of a finished run. The run's episodes are played again, step by step,\n"
        "and drawn as the settings say: other visuals, another camera, larger images. Nothing new is collected and\n"
        "the teacher stays as it is. The result is a run of its own; the same command continues it.",
        "settings, written key=value; those that are not given are RUN's own:\n" + describe_settings(),
    )
    parser.add_run("a finished run, by path or URL")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings; all are listed below")
    parser.add_argument(
        "--out", metavar="DIR", type=place, required=True, help=f"the new run, a path or a URL: {EXAMPLES}"
    )
    parser.add_argument(
        "--from-student", action="store_true", help="go on with RUN's student, instead of beginning a new one"
    )
    parser.add_argument("--mode", metavar="MODE", help="local or debug, as of twist train (default: local)")
    parser.add_argument("--seed", metavar="N", help=option_help("seed") + " (default: RUN's)")
    parser.add_argument("--redis-url", metavar="URL", help=option_help("redis_url"))
    given = parser.parse_intermixed_args(arguments)
    from deploy.remote.run import local_run
    from deploy.runs.directory import RunDirectory
    from deploy.training.replay_address import given_url

    redis_url = given_url(given.redis_url)
    with ExitStack() as stack:
        mirror = None
        if is_url(given.out):
            from deploy.remote.mirror import mirrored

            mirror = stack.enter_context(mirrored(given.out, print))
        directory = Path(given.out) if mirror is None else mirror.directory
        require_directory(directory)
        found = Path(stack.enter_context(local_run(given.run, episodes=True)))
        RunDirectory.open(found)  # before torch is imported, so that the answer comes at once
        from deploy.runs.source import Source, distilled_config
        from deploy.training.distil import distil

        source = Source.open(found, given.run)
        config = distilled_config(
            source,
            given.settings,
            mode=given.mode,
            seed=given.seed,
            redis_url=redis_url,
            continued=given.from_student,
        )
        return distil(config, directory, source, mirror)
