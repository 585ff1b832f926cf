"""What the runtime refuses, in the words of twist's commands; the runtime itself knows nothing of these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.errors import RunEndedError, UserError
from deploy.robot.runtime.arm import ArmError
from deploy.robot.runtime.refusals import BundleError, UsageError


@contextmanager
def runtime_errors() -> Iterator[None]:
    """Turns what the runtime raises into errors of a command.

    Raises:
        UserError: for a `UsageError` in the block.
        RunEndedError: for a `BundleError` or an `ArmError`.
    """
    try:
        yield
    except UsageError as error:
        raise UserError(str(error)) from error
    except (BundleError, ArmError) as error:
        raise RunEndedError(str(error)) from error
