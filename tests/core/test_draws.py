from __future__ import annotations

import subprocess
import sys

import numpy as np

from orchestrator.core.draws import lazy_generator


def test_its_draws_are_those_of_the_generator_it_stands_for():
    lazy, made = lazy_generator(7), np.random.Generator(np.random.SFC64(7))

    assert lazy.random() == made.random()
    assert lazy.beta([1.0, 2.0], 3.0).tolist() == made.beta([1.0, 2.0], 3.0).tolist()


def test_an_engine_that_never_draws_does_not_import_what_draws():
    program = (
        "import asyncio, sys\n"
        "from orchestrator import Orchestrator\n"
        "from orchestrator.testing import ScriptedModel\n"
        "async def main():\n"
        "    async with Orchestrator([ScriptedModel('m')]) as orchestrator:\n"
        "        await orchestrator.generate('hi')\n"
        "asyncio.run(main())\n"
        "print('numpy.random' in sys.modules)\n"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (ran.stdout, ran.stderr) == ("False\n", "")
