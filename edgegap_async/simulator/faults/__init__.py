"""What goes wrong in a simulator on request."""

from .fault import KINDS, Fault

__all__ = ["KINDS", "Fault"]
