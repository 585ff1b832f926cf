"""This process and those that it starts: signals, packages, what only shows, and the places that it is given."""
