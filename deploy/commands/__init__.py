"""One file a command, each with `run(arguments) -> exit code`; `deploy.cli` finds them by name."""
