"""What a run, and what is packed out of it, is on disk: directory, checkpoints, snapshots, report, policies."""
