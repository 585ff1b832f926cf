"""What a run leaves behind for people: metrics, curves, clips, the report and its page."""
