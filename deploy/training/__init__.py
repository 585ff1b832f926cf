"""A run under way: `train` assembles replay, learner and actors in one of the modes, and watches over them."""
