"""The environment: everything needed to step it, nothing that learns."""

from facehall_env._version import __version__

__all__ = ["__version__"]
