"""The console commands. Imports no torch until a command runs."""

from gan_cli.cli.main import compare, evaluate, export, report, sample, train

__all__ = ["compare", "evaluate", "export", "report", "sample", "train"]
