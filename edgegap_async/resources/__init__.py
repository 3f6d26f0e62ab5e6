"""The namespaces of a session: each method names a row of the table and makes its
arguments a checked body.
"""
