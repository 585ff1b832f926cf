"""The learner: teacher, policy and student, on torch alone (no simulator, no Ray)."""
