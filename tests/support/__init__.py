"""Helpers of the tests: servers, clients and loops made for them."""
