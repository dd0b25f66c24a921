"""The command line: `./sluice`, or `python -m app.cli` where the environment is already made."""
