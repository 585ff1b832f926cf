"""Visual domains: in which factors an episode's world lies outside what training draws.

A domain is one word. "train" holds nothing out; "held_out" holds out what never occurs in training and can be judged
once for all runs: textures, things, light and camera; "held_out:light" or "held_out:noise,delay" hold out the factors
that they name and draw everything else exactly as "train" does with the same seed. Noise and delay have no ranges of
their own in "held_out": asked for by name, they are drawn from a shell beyond the training range.
"""

from __future__ import annotations

from sim.config import RandomisationConfig

DOMAINS = ("train", "held_out")

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


def held_out_factors(domain: str) -> frozenset[str]:
    """Return the factors that a domain holds out.

    Raises:
        ValueError: There is no such domain, or it names an unknown factor.
    """
    word, colon, names = domain.partition(":")
    if word not in DOMAINS or (colon and word == "train"):
        raise ValueError(f"domain is {domain!r}, allowed: {', '.join(DOMAINS)}, and held_out:FACTOR,...")
    if not colon:
        return frozenset(_IN_HELD_OUT if word == "held_out" else ())
    factors = names.split(",")
    held_out_domain(*factors)
    return frozenset(factors)


def drawn_factors(config: RandomisationConfig) -> tuple[str, ...]:
    """Return those of `FACTORS` that a configuration draws; to hold out one that is switched off changes nothing."""
    drawn = []
    for factor in FACTORS:
        group = config.timing if factor == "delay" else config.visual
        if group.enabled and any(getattr(group, switch) for switch in _SWITCHES[factor]):
            drawn.append(factor)
    return tuple(drawn)
