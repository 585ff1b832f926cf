"""From what randomisation draws to what a renderer is told: one `Look` per visual draw."""

from __future__ import annotations

from sim.randomisation import VisualDraw
from sim.scene import STANDING
from sim.scenery import Look, Material, Scenery


def look_of(draw: VisualDraw, scenery: Scenery) -> Look:
    """Return how a draw looks: every slot in the colour and texture of its surface, which is its name up to a dot."""
    materials = {}
    for slot in scenery.slots:
        surface = draw.surfaces[slot.partition(".")[0]]
        materials[slot] = Material(surface.colour, surface.texture)
    return Look(materials, draw.light, STANDING)
