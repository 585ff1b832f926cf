"""This process and those that it starts: signals that end it, and which packages it imports."""
