"""config: reads the YAML tree under lwexp/conf/ and sweeps/, gives one frozen, validated ``Config``.

Writes nothing. Never touches torch, litellm or wandb: ``--help`` and every config error must answer in
about a second, and importing any of those takes longer than that.
"""

from lwexp.config.cli import run_script
from lwexp.config.compose import compose
from lwexp.config.schema import Config

__all__ = ["Config", "compose", "run_script"]
