"""`python -m edgegap_async ...`: launch servers for matches, or run the simulator.
Needs the extra `cli`.
"""
