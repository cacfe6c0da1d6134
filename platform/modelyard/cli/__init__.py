"""The command line: words in, words out. One file a verb; whatever is heavy is imported inside the verb."""

from modelyard.cli.app import main

__all__ = ["main"]
