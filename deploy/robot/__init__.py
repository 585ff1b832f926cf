"""From a run to a robot: the bundle that is copied there, and the loop that runs it in simulation as on the arm."""
