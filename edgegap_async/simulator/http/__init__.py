"""The simulator's HTTP side."""
