"""Visual domains: in which factors an episode's world lies outside what training draws.

A domain is one word. "train" holds nothing out; "held_out" holds out what never occurs in training and can be judged
once for all runs: textures, things, light and camera; "held_out:light" or "held_out:noise,delay" hold out the factors
that they name and draw everything else exactly as "train" does with the same seed. Noise and delay have no ranges of
their own in "held_out": asked for by name, they are drawn from a shell beyond the training range.

"alone:wood" draws all as "train" does with the same seed and then makes the one change of that name (`sim.changes`).
"lab" is one of a few fixed rooms (`sim.lab`), which the episode's seed chooses; "lab:kitchen_noon" names it. Nothing is
chosen by the lab, and no training is given it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.changes import CHANGES
from sim.config import RandomisationConfig
from sim.lab import ROOMS
from sim.seeds import generator

DRAWN_DOMAINS = ("train", "held_out")
DOMAINS = (*DRAWN_DOMAINS, "lab")

FACTORS = ("textures", "things", "light", "camera", "noise", "delay")
"""What can be held out by name. textures: what tables, floors and walls are made
of; noise: noise, blur, exposure and balance of the sensor; delay: of actions and of images, and
frames that are held."""

_IN_HELD_OUT = ("textures", "things", "light", "camera")
_SWITCHES = {
    "textures": ("textures",),
    "things": ("things",),
    "light": ("lights",),
    "camera": ("camera_position", "camera_aim"),
    "noise": ("noise", "blur", "exposure", "colour_balance"),
    "delay": ("action_delay", "camera_delay", "held_frames"),
}


def held_out_domain(*factors: str) -> str:
    """Return the domain in which these factors, and no others, are held out; "train" for none.

    Raises:
        ValueError: A factor is not one of `FACTORS`.
    """
    for factor in factors:
        if factor not in FACTORS:
            raise ValueError(f"factor is {factor!r}, allowed: {', '.join(FACTORS)}")
    return f"held_out:{','.join(factor for factor in FACTORS if factor in factors)}" if factors else "train"


def checked_domain(domain: str) -> str:
    """Return a domain.

    Raises:
        ValueError: There is no such domain, or it names a factor, a change or a room that there is not.
    """
    word, colon, names = domain.partition(":")
    if word == "held_out" and colon:
        held_out_domain(*names.split(","))
    elif word == "alone" or (word == "lab" and colon):
        allowed: Mapping[str, object] = CHANGES if word == "alone" else ROOMS
        if names not in allowed:
            raise ValueError(f"domain is {domain!r}, allowed: {word}:NAME, NAME one of {', '.join(allowed)}")
    elif domain not in DOMAINS:
        more = "held_out:FACTOR,..., alone:CHANGE and lab:ROOM"
        raise ValueError(f"domain is {domain!r}, allowed: {', '.join(DOMAINS)}, {more}")
    return domain


def held_out_factors(domain: str) -> frozenset[str]:
    """Return the factors that a domain holds out.

    Raises:
        ValueError: As `checked_domain`.
    """
    word, colon, names = checked_domain(domain).partition(":")
    if word != "held_out":
        return frozenset()
    return frozenset(names.split(",") if colon else _IN_HELD_OUT)


def changed_factors(domain: str) -> Mapping[str, float | str | tuple[float, ...]]:
    """Return the values of factors that a domain sets, whatever is drawn."""
    word, _, name = domain.partition(":")
    return CHANGES[name].factors if word == "alone" else {}


def lab_room(domain: str, seed: int) -> str | None:
    """Return the room of the lab that an episode plays in; None: in no room of the lab.

    Args:
        domain: As `checked_domain` lets it pass.
        seed: Of the episode.
    """
    word, colon, name = domain.partition(":")
    if word != "lab":
        return None
    return name if colon else tuple(ROOMS)[int(generator(seed, "lab").integers(len(ROOMS)))]


def drawn_factors(config: RandomisationConfig) -> tuple[str, ...]:
    """Return those of `FACTORS` that a configuration draws; to hold out one that is switched off changes nothing."""
    drawn = []
    for factor in FACTORS:
        group = config.timing if factor == "delay" else config.visual
        if group.enabled and any(getattr(group, switch) for switch in _SWITCHES[factor]):
            drawn.append(factor)
    return tuple(drawn)
