"""The version, in the one place that packaging, the User-Agent and users read."""

__version__ = "0.1.0"
