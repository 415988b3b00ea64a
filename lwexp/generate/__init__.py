"""generate: selection and AgentWrite. Reads conversations of any set and keeps the instructions that need a long
answer (``select``); reads instructions (selected, made from topics, or a JSONL file), asks the teacher for a plan and
for one paragraph per step, and cleans the replies.

Writes into its run directory: instructions.jsonl (for a selection) or drafts.jsonl, conversations.jsonl and
.parquet (for SFT); draft_failures.jsonl and ledger.sqlite (every paid answer, so that running the command again pays
for no answer twice). Never touches a key, a model or another room's files; only the room ``llm`` uses litellm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwexp.config.schema import Config
    from lwexp.runs import RunDirectory

__all__ = ["write_drafts"]

log = logging.getLogger(__name__)


def write_drafts(config: Config, *, publish: Callable[[RunDirectory], None] | None = None) -> RunDirectory | None:
    """Write the drafts of a run, or print what they would cost if ``dry_run`` is set.

    A run that lost documents to temporary faults (time-outs, a busy server) is incomplete: the same command asks again
    for those only. So is a run that ran out of money; the drafts written until then can be used.

    Args:
        config: The whole config.
        publish: Called once the run's files are written, also if the run ends early, but not after SIGTERM.

    Returns:
        The run, or None after a dry run, which leaves nothing behind.

    Raises:
        LwexpError: If a key is missing, the teacher does not take a parameter, the instructions or prompts cannot be
            read, or the run has to stop.
    """
    from lwexp.generate.instructions import find_instructions
    from lwexp.generate.planning import plan_form
    from lwexp.generate.prompts import load_templates
    from lwexp.llm.key import require_key
    from lwexp.records import LwexpError
    from lwexp.runs import fingerprint, open_run
    from lwexp.runs.artifacts import DRAFTS
    from lwexp.text.plain import slug

    found = find_instructions(config.generate.instructions, seed=config.seed, root=Path(config.root))
    instructions = found.rows
    templates = load_templates(config.generate, plan_form(config.generate.plan, config.teacher))
    inputs = {}
    if found.file is not None:
        inputs["instructions"] = fingerprint(found.file)
    if config.generate.prompts is not None:
        inputs["prompts"] = fingerprint(Path(config.generate.prompts))
    if config.dry_run:
        from lwexp.generate.estimate import describe
        from lwexp.llm.transport import require_parameters

        require_parameters(config.teacher)
        print(describe(config, instructions, templates))
        return None
    # The teacher's model without its provider.
    name = "offline" if config.teacher.kind == "offline" else config.teacher.model.rsplit("/", 1)[-1]
    run = open_run(
        "data", config, default_name=f"data-{slug(name, 'teacher')}", inputs=inputs,
        parents=[found.run] if found.run else [], labels={"teacher": config.teacher.model},
        check=lambda: require_key(config.teacher),
    )  # fmt: skip
    with run:
        if run.is_finished:
            log.info("%s is finished: %s", run.id, run.tally)
            return run
        from lwexp.generate.document_pool import write_all

        try:
            written = write_all(config, run, instructions, templates)
        except (KeyboardInterrupt, LwexpError):
            if publish is not None and (run.path / DRAFTS).is_file():
                publish(run)
            raise
        run.finish(written.results, missing=written.missing)
        if publish is not None:
            publish(run)
        if written.stop is not None:
            raise written.stop
    return run
