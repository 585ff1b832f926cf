"""`twist align`: pictures of a robot to where its camera is, beside the contract, and a page to look at."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from deploy.reporting.alignment_page import overlay, write_alignment_page
from deploy.robot.alignment import SIZE, Fit, align
from deploy.robot.alignment_pictures import Pictures
from deploy.robot.runtime.alignment_file import FORMAT, PAGE, Alignment
from deploy.robot.runtime.contract import Camera, read_contract
from deploy.robot.runtime.manifest import read_manifest
from deploy.robot.silhouettes import RobotSilhouettes, View, level_axes, view_of

LEAST_SLANT_DEG = 1.0
"""Between where the camera looks and the vertical: there the picture's upper edge is on no side."""


@dataclass(frozen=True)
class Start:
    """Where the search begins; None: where the contract has it.

    Attributes:
        eye: metres.
        aim: the point in the middle of the picture, metres.
        field_of_view_deg: full angle between opposite edges.
    """

    eye: tuple[float, float, float] | None = None
    aim: tuple[float, float, float] | None = None
    field_of_view_deg: float | None = None

    def view(self, camera: Camera) -> View:
        """As a view.

        Raises:
            UserError: a number is not finite, or the camera would look at itself, or straight up or down.
        """
        nominal = view_of(camera)
        eye, aim = np.array(self.eye or camera.eye_m), np.array(self.aim or camera.aim_m)
        along = aim - eye
        said = f"--eye is {eye.tolist()}, --aim is {aim.tolist()}"
        if not np.isfinite(along).all():
            raise UserError(f"{said}; allowed are finite numbers")
        level, length = math.hypot(along[0], along[1]), float(np.linalg.norm(along))
        if not level > math.sin(math.radians(LEAST_SLANT_DEG)) * length:
            raise UserError(
                f"{said}: the camera looks straight up or down, or at itself; allowed is {LEAST_SLANT_DEG:g} degree off"
                " the vertical and more: move the aim by some centimetres"
            )
        return View(eye, level_axes(along), self.field_of_view_deg or nominal.field_of_view_deg)


def write_alignment(bundle: Path, pictures: Pictures, start: Start) -> tuple[Alignment, list[str]]:
    """Finds the camera and writes what was found, and the page, into the bundle.

    Returns:
        It, and what of it lies beyond what was trained on.

    Raises:
        BundleError: the bundle is damaged.
        UserError: the search cannot begin there.
    """
    manifest, camera = read_manifest(bundle), read_contract(bundle).camera
    begun = start.view(camera)
    with RobotSilhouettes(base=pictures.with_base) as renderer:
        fit = align(renderer, pictures.seen, pictures.postures, begun)
        outlines = [renderer.draw(each.joints, each.opening, begun, SIZE) > 0.5 for each in pictures.postures]
    found = described(fit, camera, manifest.sha256, len(pictures.images))
    beyond = list(found.beyond(camera))
    found.write(bundle)
    overlays = [
        overlay(image, started, drawn > 0.5)
        for image, started, drawn in zip(pictures.images, outlines, fit.drawn, strict=True)
    ]
    write_alignment_page(bundle / PAGE, f"Camera alignment of {bundle.name}", facts(found, camera), beyond, overlays)
    return found, beyond


def described(fit: Fit, camera: Camera, bundle_sha256: str, pictures: int) -> Alignment:
    """A fit in the words of the file."""
    view = fit.view
    aim = view.aim(camera.aim_m)
    wide = 2 * math.tan(math.radians(view.field_of_view_deg) / 2) * float(np.linalg.norm(aim - view.eye))
    eye_m, aim_m = ([round(float(value), 5) for value in place] for place in (view.eye, aim))
    return Alignment(
        format=FORMAT,
        bundle_sha256=bundle_sha256,
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        pictures=pictures,
        eye_m=(eye_m[0], eye_m[1], eye_m[2]),
        aim_m=(aim_m[0], aim_m[1], aim_m[2]),
        roll_deg=round(view.roll_deg, 3),
        field_of_view_deg=round(view.field_of_view_deg, 3),
        overlap=round(fit.overlap, 4),
        residual_px=round(fit.apart_px, 3),
        residual_mm=round(1e3 * fit.apart_px * wide / SIZE, 2),
    )


def facts(found: Alignment, camera: Camera) -> list[tuple[str, str]]:
    """What a person reads: name and value."""

    def place(where: tuple[float, float, float], nominal: tuple[float, float, float]) -> str:
        away = 1e3 * math.dist(where, nominal)
        return f"({', '.join(f'{value:.3f}' for value in where)}) m, {away:.0f} mm from the contract's"

    return [
        ("pictures", str(found.pictures)),
        ("camera", place(found.eye_m, camera.eye_m)),
        ("looks at", place(found.aim_m, camera.aim_m)),
        ("roll", f"{found.roll_deg:+.1f} degrees"),
        ("field of view", f"{found.field_of_view_deg:.1f} degrees, {camera.field_of_view_deg:.1f} in the contract"),
        ("overlap", f"{found.overlap:.3f}"),
        ("contours apart", f"{found.residual_mm:.1f} mm (median)"),
    ]
