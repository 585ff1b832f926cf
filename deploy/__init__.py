"""The composition root: puts simulator, actors, replay and learner together, and runs, watches and judges them."""
