"""alignment.json, beside the contract: where the camera of one robot was found to be, by `twist align`.

Bound to the bundle's hash, as the ranges that it is compared with are that bundle's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .contract import Camera, Vector
from .refusals import BundleError

ALIGNMENT = "alignment.json"
PAGE = "alignment.html"
FORMAT = 1

LEAST_OVERLAP = 0.8
"""Below it, silhouettes seen and drawn are not of one camera."""


@dataclass(frozen=True)
class Alignment:
    """What was found.

    Attributes:
        format: of the file.
        bundle_sha256: of the manifest.
        made: when, UTC.
        pictures: that it was found by.
        eye_m: where the camera is.
        aim_m: the point of its optical axis that is nearest to the contract's.
        roll_deg: about that axis, clockwise seen from behind.
        field_of_view_deg: full angle between opposite edges.
        overlap: intersection over union of the silhouettes.
        residual_px: median distance of their contours, at 128 pixels an edge.
        residual_mm: the same where the contract's camera aims.
    """

    format: int
    bundle_sha256: str
    made: str
    pictures: int
    eye_m: Vector
    aim_m: Vector
    roll_deg: float
    field_of_view_deg: float
    overlap: float
    residual_px: float
    residual_mm: float

    def beyond(self, camera: Camera) -> Iterator[str]:
        """What of it lies beyond the ranges that were trained on, a line each."""
        trained = camera.trained
        if self.overlap < LEAST_OVERLAP:
            yield f"the silhouettes overlap by {self.overlap:.2f}; allowed is at least {LEAST_OVERLAP}"
        for name, found, nominal, most in (
            ("the camera", self.eye_m, camera.eye_m, trained.eye_offset_m),
            ("its aim", self.aim_m, camera.aim_m, trained.aim_offset_m),
        ):
            away = math.dist(found, nominal)
            if not away <= most:
                yield f"{name} is {1e3 * away:.0f} mm from where training had it; allowed are {1e3 * most:.0f} mm"
        for name, angle, (low, high) in (
            ("the field of view", self.field_of_view_deg, trained.field_of_view_deg),
            ("the roll", self.roll_deg, trained.roll_deg),
        ):
            # Silhouettes tell an angle to half a degree at best.
            least, most = low - _TOLD_DEG, high + _TOLD_DEG
            if not least <= angle <= most:
                yield f"{name} is {angle:.1f} degrees; allowed are {least:.1f} to {most:.1f}"

    def write(self, bundle: Path) -> None:
        """Writes it beside the contract."""
        (bundle / ALIGNMENT).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


_TOLD_DEG = 0.5


def read_alignment(bundle: Path) -> Alignment | None:
    """Reads a bundle's; None where there is none.

    Raises:
        BundleError: it cannot be read.
    """
    path = bundle / ALIGNMENT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT or set(document) != {entry.name for entry in fields(Alignment)}:
            raise ValueError(f"is not of format {FORMAT}")
        return Alignment(**{**document, "eye_m": tuple(document["eye_m"]), "aim_m": tuple(document["aim_m"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
