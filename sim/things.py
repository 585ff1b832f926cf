"""Things that lie about: what they look like, and which domain has which. Nothing here collides with anything."""

from __future__ import annotations

from sim.meshes import Mesh, join
from sim.scenery import Item, Part
from sim.solids import ball_profile, block, moved, turned

THINGS: dict[str, tuple[str, ...]] = {
    "train": ("mug", "bottle", "can", "book", "carton", "roll"),
    "held_out": ("bowl", "orange", "tumbler", "box", "pot", "wedge"),
    "lab": ("kettle", "jar", "beaker", "toolbox", "keyboard", "plant"),
}
"""Kinds of things of the training domain, of the held-out domain and of the lab."""

ALL_THINGS = (*THINGS["train"], *THINGS["held_out"], *THINGS["lab"])

COLOURS: dict[str, tuple[float, float, float]] = {
    "kettle.body": (0.72, 0.73, 0.75),
    "kettle.trim": (0.10, 0.10, 0.11),
    "jar.body": (0.55, 0.33, 0.20),
    "jar.trim": (0.80, 0.79, 0.75),
    "beaker.body": (0.82, 0.88, 0.90),
    "beaker.trim": (0.30, 0.52, 0.72),
    "toolbox.body": (0.16, 0.30, 0.52),
    "toolbox.trim": (0.12, 0.12, 0.13),
    "keyboard.body": (0.14, 0.14, 0.15),
    "keyboard.trim": (0.32, 0.32, 0.34),
    "plant.body": (0.62, 0.36, 0.26),
    "plant.trim": (0.20, 0.42, 0.16),
}
"""Of the lab's things, by slot; all others have any."""


def thing_items() -> list[Item]:
    """Return one item per kind of thing, which stands on its origin; slots are its name, dot, "body" or "trim"."""
    return [
        Item(kind, tuple(Part(mesh, f"{kind}.{part}") for part, mesh in parts.items()))
        for kind, parts in _THING_MESHES.items()
    ]


_THING_MESHES: dict[str, dict[str, Mesh]] = {
    "mug": {
        "body": turned([(0.0, 0.0), (0.038, 0.0), (0.040, 0.095), (0.034, 0.095), (0.032, 0.01), (0.0, 0.01)]),
        "trim": join(
            [moved(block(0.03, 0.012, z, z + 0.012), 0.05, 0.0, 0.0) for z in (0.02, 0.07)]
            + [moved(block(0.01, 0.012, 0.02, 0.082), 0.064, 0.0, 0.0)]
        ),
    },
    "bottle": {
        "body": turned([(0.0, 0.0), (0.034, 0.0), (0.034, 0.12), (0.013, 0.16), (0.013, 0.185), (0.0, 0.185)]),
        "trim": turned([(0.0, 0.18), (0.016, 0.18), (0.016, 0.205), (0.0, 0.205)]),
    },
    "can": {
        "body": turned([(0.0, 0.004), (0.033, 0.004), (0.033, 0.112), (0.0, 0.112)]),
        "trim": turned([(0.0, 0.11), (0.03, 0.11), (0.028, 0.118), (0.0, 0.118)]),
    },
    "book": {"body": block(0.15, 0.21, 0.0, 0.028), "trim": block(0.146, 0.202, 0.004, 0.0295)},
    "carton": {"body": block(0.07, 0.07, 0.0, 0.17), "trim": block(0.071, 0.02, 0.165, 0.2)},
    "roll": {
        "body": turned([(0.0, 0.0), (0.055, 0.0), (0.055, 0.10), (0.022, 0.10), (0.022, 0.02), (0.0, 0.02)], 16),
        "trim": turned([(0.0, 0.0), (0.021, 0.0), (0.021, 0.101), (0.0, 0.101)], 10),
    },
    "bowl": {
        "body": turned([(0.0, 0.0), (0.03, 0.0), (0.065, 0.05), (0.060, 0.05), (0.028, 0.008), (0.0, 0.008)], 16),
        "trim": turned([(0.0, 0.01), (0.045, 0.034), (0.0, 0.04)], 12),
    },
    "orange": {"body": turned(ball_profile(0.038)), "trim": turned([(0.0, 0.070), (0.006, 0.074), (0.0, 0.082)], 6)},
    "tumbler": {
        "body": turned([(0.0, 0.0), (0.028, 0.0), (0.038, 0.12), (0.0, 0.115)]),
        "trim": turned([(0.0, 0.0), (0.0295, 0.0), (0.032, 0.035), (0.0, 0.036)]),
    },
    "box": {"body": block(0.14, 0.10, 0.0, 0.075), "trim": block(0.142, 0.03, 0.001, 0.077)},
    "pot": {
        "body": turned([(0.0, 0.0), (0.045, 0.0), (0.06, 0.09), (0.0, 0.085)]),
        "trim": turned([(0.0, 0.08), (0.03, 0.09), (0.055, 0.13), (0.03, 0.18), (0.0, 0.21)], 9),
    },
    "wedge": {"body": turned([(0.0, 0.0), (0.06, 0.0), (0.0, 0.16)], 4), "trim": block(0.13, 0.13, 0.0, 0.012)},
    "kettle": {
        "body": turned([(0.0, 0.0), (0.075, 0.0), (0.080, 0.05), (0.045, 0.16), (0.0, 0.17)], 16),
        "trim": join(
            [moved(block(0.02, 0.02, 0.10, 0.19), x, 0.0, 0.0) for x in (-0.055, 0.055)]
            + [block(0.13, 0.02, 0.19, 0.21), moved(block(0.05, 0.02, 0.08, 0.10), 0.085, 0.0, 0.0)]
        ),
    },
    "jar": {
        "body": turned([(0.0, 0.0), (0.042, 0.0), (0.042, 0.11), (0.034, 0.125), (0.0, 0.125)]),
        "trim": turned([(0.0, 0.12), (0.038, 0.12), (0.038, 0.145), (0.0, 0.145)]),
    },
    "beaker": {
        "body": turned([(0.0, 0.0), (0.04, 0.0), (0.04, 0.11), (0.045, 0.115), (0.037, 0.113), (0.0, 0.07)]),
        "trim": turned([(0.0, 0.0), (0.0405, 0.0), (0.0405, 0.06), (0.0, 0.065)]),
    },
    "toolbox": {
        "body": block(0.25, 0.14, 0.0, 0.11),
        "trim": join([block(0.254, 0.144, 0.08, 0.092), block(0.14, 0.025, 0.11, 0.14)]),
    },
    "keyboard": {"body": block(0.30, 0.12, 0.0, 0.018), "trim": block(0.285, 0.105, 0.004, 0.024)},
    "plant": {
        "body": turned([(0.0, 0.0), (0.05, 0.0), (0.065, 0.11), (0.0, 0.105)]),
        "trim": join(
            [
                turned([(0.0, 0.10), (0.05, 0.14), (0.085, 0.20), (0.05, 0.27), (0.0, 0.30)], 7),
                moved(turned([(0.0, 0.18), (0.05, 0.22), (0.0, 0.28)], 6), 0.05, 0.04, 0.0),
            ]
        ),
    },
}
