"""Typed requests and answers of the API, one file per noun."""
