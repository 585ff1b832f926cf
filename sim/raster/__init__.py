"""A software renderer of our own: triangles into pixels on one core, compiled by numba. Its door is `renderer`."""
