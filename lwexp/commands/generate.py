"""Generate training data: selected instructions, AgentWrite drafts, imported files, preference pairs.

python generate_data.py                                   drafts from the offline stand-in, no key needed
python generate_data.py task=select source=data/set.json  which need a long answer? then instructions=selected
python generate_data.py teacher=gpt4o dry_run=true        what GPT-4o would cost; spends nothing
python generate_data.py task=import source=data/set.json  imports messages, sharegpt or alpaca rows
python generate_data.py task=export export.format=trl     the newest run for TRL, LLaMA-Factory or ms-swift
python generate_data.py task=pairs init_from=newest       preference pairs from n scored answers per instruction
"""

from lwexp.commands.shell import run_command
from lwexp.config import Config


def run(config: Config) -> None:
    """Do the one task that ``task`` names."""
    from lwexp.recipe import generate
    from lwexp.runs.ranks import require_one_process

    require_one_process("lwexp generate")
    generate(config)


def main(_: list[str] | None = None) -> None:
    """Entry point of ``lwexp generate`` and generate_data.py."""
    run_command("generate", run, __doc__ or "")
