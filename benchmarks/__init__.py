"""Programs that measure; `docs/speed.md` tells how, and what they found.

``python -m benchmarks`` runs all of them, ``python benchmarks/NAME.py`` runs one.
"""
