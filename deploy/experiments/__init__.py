"""Experiments of several runs: made by one command, compared by another."""
