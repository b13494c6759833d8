"""May a model serve, and what next when it fails: pure deciders.

No clock, no I/O, no tasks: time and randomness are handed in."""
