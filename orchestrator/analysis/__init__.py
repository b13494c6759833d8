"""Offline: what a policy would have done, and how good it is.

Environments answer pulls, the simulator plays the serving code against them, many runs at once,
and the rest reads off regret, estimates of other policies from a log, and cost against quality.
Nothing here serves requests or touches the network.
"""
