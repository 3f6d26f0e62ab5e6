"""The command line, `python -m edgegap_async`. It needs the extra `cli`."""
