"""What a trained policy can do: episodes with fixed seeds, factor by factor, and the conclusion of a run."""
