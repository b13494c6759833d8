"""What notebooks find when they run as tests: no log and no table but their own."""

import os

os.environ["DECISIONS"] = ""
os.environ.pop("OUTCOMES", None)
