"""An instant, unbreakable terminal on machines that only a batch system can reach."""

__version__ = "0.1.0"
