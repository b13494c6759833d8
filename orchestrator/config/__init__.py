"""What can be configured, and where the values come from: arguments, environment, file, defaults.

Here: the shape of the settings, reading them, and building models, routes and the engine's
arguments from them. Not here: the engine itself, which is above this package.
"""

from orchestrator.config.build import arguments_for, build
from orchestrator.config.configuration import Configuration, read_configuration
from orchestrator.config.settings import Settings

__all__ = ["Configuration", "Settings", "arguments_for", "build", "read_configuration"]
