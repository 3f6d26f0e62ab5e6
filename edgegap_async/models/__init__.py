"""Typed requests and answers, one file per noun."""
