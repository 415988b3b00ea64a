"""The plan that ``dry_run=true`` prints: tokens, packs, steps and memory. Needs neither weights nor a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lwexp.config.schema import Config
from lwexp.records import Conversation, LwexpError, PreferencePair
from lwexp.train.hardware import hardware_of, settle_hardware
from lwexp.train.memory import memory_table, plan_memory
from lwexp.train.readiness import preflight
from lwexp.train.shapes import model_sizes

# Tokens of a document's chat format and of a word of English or a character of Chinese, for vocabularies of more
# than 100,000; a miniature's 1,000 entries take about twice as many.
FORMAT_TOKENS = 10
TOKENS_PER_WORD = 1.33


def describe_plan(
    config: Config,
    conversations: Sequence[Conversation] | None,
    pairs: Sequence[PreferencePair] | None,
    start_from: Path | None = None,
) -> str:
    """What a run would do, as text. Ends with what stands against it on this machine.

    Args:
        config: The whole config.
        conversations: The resolved mixture for SFT; None if it is not known yet.
        pairs: The same for DPO.
        start_from: Folder of the model to start from.
    """
    config = settle_hardware(config)
    hardware = hardware_of(config)
    parts = []
    if conversations is not None or pairs is not None:
        parts.append(steps_table(config, conversations, pairs))
    sizes = model_sizes(config.model, start_from)
    parts.append(memory_table(plan_memory(sizes, hardware, config.pack.max_tokens), hardware))
    try:
        preflight(config, start_from)
        parts.append("this machine can do it")
    except LwexpError as error:
        parts.append(str(error))
    return "\n\n".join(parts)


def steps_table(
    config: Config, conversations: Sequence[Conversation] | None, pairs: Sequence[PreferencePair] | None
) -> str:
    """Estimated tokens, packs and steps, from word counts alone."""
    if conversations is not None:
        prompts = [sum(len(m.content) for m in c.messages if m.role != "assistant") for c in conversations]
        tokens = [
            c.actual_words * TOKENS_PER_WORD + n / 4 + FORMAT_TOKENS
            for c, n in zip(conversations, prompts, strict=True)
        ]
        what, count = "conversations", len(conversations)
    else:
        rows = pairs or ()
        prompts = [sum(len(m.content) for m in p.prompt) for p in rows]
        tokens = [
            (p.chosen_words + p.rejected_words) * TOKENS_PER_WORD + 2 * (n / 4 + FORMAT_TOKENS)
            for p, n in zip(rows, prompts, strict=True)
        ]
        what, count = "preference pairs", len(rows)
    capacity, batch = config.pack.max_tokens, config.objective.global_batch
    packs = max(1, -(-int(sum(tokens)) // capacity)) if tokens else 0
    steps = -(-packs * config.objective.epochs // batch)
    if config.objective.max_steps is not None:
        steps = min(steps, config.objective.max_steps)
    too_long = sum(n > capacity for n in tokens)
    lines = [
        "data (estimated from word counts):",
        f"  {what:<18}{count:>12,}",
        f"  {'tokens':<18}{int(sum(tokens)):>12,}   {TOKENS_PER_WORD} a word",
        f"  {'packs':<18}{packs:>12,}   of {capacity:,} tokens",
        f"  {'steps':<18}{steps:>12,}   {batch} packs each, {config.objective.epochs} epochs",
    ]
    if too_long:
        lines.append(f"  {'too long':<18}{too_long:>12,}   pack.overflow={config.pack.overflow}")
    return "\n".join(lines)
