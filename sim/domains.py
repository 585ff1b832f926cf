"""Visual domains: in which groups of factors an episode's world lies outside what training draws.

A domain is one word. "train" holds nothing out; "held_out" holds out what never occurs in training and can be judged
once for all runs: textures, things, light and camera; "held_out:light" or "held_out:noise,delay" hold out the groups
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

GROUPS: dict[str, str] = {
    "textures": "what tables, floors and walls are made of",
    "things": "what lies about",
    "light": "directions of the lamps",
    "camera": "where the camera is and what it looks at",
    "noise": "noise, blur, exposure and white balance of the sensor",
    "delay": "delays of actions and of images, and frames that are held",
}
"""What can be held out by name, groups of factors (`sim.factors`), each with what is held out of it."""

_IN_HELD_OUT = ("textures", "things", "light", "camera")
_SWITCHES = {
    "textures": ("textures",),
    "things": ("things",),
    "light": ("lights",),
    "camera": ("camera_position", "camera_aim"),
    "noise": ("noise", "blur", "exposure", "colour_balance"),
    "delay": ("action_delay", "camera_delay", "held_frames"),
}


def held_out_domain(*groups: str) -> str:
    """Return the domain in which these groups, and no others, are held out; "train" for none.

    Raises:
        ValueError: A group is not one of `GROUPS`.
    """
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"group is {group!r}, allowed: {', '.join(GROUPS)}")
    return f"held_out:{','.join(group for group in GROUPS if group in groups)}" if groups else "train"


def checked_domain(domain: str) -> str:
    """Return a domain.

    Raises:
        ValueError: There is no such domain, or it names a group, a change or a room that there is not.
    """
    word, colon, names = domain.partition(":")
    if word == "held_out" and colon:
        held_out_domain(*names.split(","))
    elif word == "alone" or (word == "lab" and colon):
        allowed: Mapping[str, object] = CHANGES if word == "alone" else ROOMS
        if names not in allowed:
            raise ValueError(f"domain is {domain!r}, allowed: {word}:NAME, NAME one of {', '.join(allowed)}")
    elif domain not in DOMAINS:
        more = "held_out:GROUP,..., alone:CHANGE and lab:ROOM"
        raise ValueError(f"domain is {domain!r}, allowed: {', '.join(DOMAINS)}, {more}")
    return domain


def held_out_groups(domain: str) -> frozenset[str]:
    """Return the groups that a domain holds out.

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


def is_of_the_lab(domain: str) -> bool:
    """Return whether a domain is the lab, or a room of it: nothing is chosen by what is seen there."""
    return domain.partition(":")[0] == "lab"


def has_training_textures(domain: str) -> bool:
    """Return whether tables, floors and walls are made of what training draws, so also of the user's own pictures.

    Raises:
        ValueError: As `checked_domain`.
    """
    return not is_of_the_lab(domain) and "textures" not in held_out_groups(domain)


def lab_room(domain: str, seed: int) -> str | None:
    """Return the room of the lab that an episode plays in; None: in no room of the lab.

    Args:
        domain: As `checked_domain` lets it pass.
        seed: Of the episode.
    """
    if not is_of_the_lab(domain):
        return None
    _, colon, name = domain.partition(":")
    return name if colon else tuple(ROOMS)[int(generator(seed, "lab").integers(len(ROOMS)))]


def drawn_groups(config: RandomisationConfig) -> tuple[str, ...]:
    """Return those of `GROUPS` that a configuration draws; to hold out one that is switched off changes nothing."""
    drawn = []
    for group in GROUPS:
        settings = config.timing if group == "delay" else config.visual
        if settings.enabled and any(getattr(settings, switch) for switch in _SWITCHES[group]):
            drawn.append(group)
    return tuple(drawn)
