"""Estimates the calls, tokens and dollars of a run, resent text included.

Step i of a document sends the text of steps 1 to i-1 again, so prompt tokens grow with the square of the number of
paragraphs: 30 paragraphs of 530 tokens resend 30 * 29 / 2 * 530 = 230,000 tokens.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lwexp.config.schema import Config
from lwexp.generate.instructions import find_instructions
from lwexp.generate.planning import plan_form
from lwexp.generate.prompts import Templates, load_templates
from lwexp.llm.price import rates_of
from lwexp.records import Instruction, Language
from lwexp.text.words import count_words

_TOKENS_PER_WORD: Mapping[Language, float] = {"en": 1.35, "zh": 1.0}  # rules of thumb for large vocabularies
_UNSTATED_WORDS = 3000  # for an instruction without a required length
_PLAN_LINE_TOKENS = 60
_SHOWN = 3  # instructions printed by a dry run


class Estimate(NamedTuple):
    """Sums over all documents; ``resent_tokens`` are prompt tokens that an earlier call has already sent."""

    calls: int
    prompt_tokens: int
    resent_tokens: int
    completion_tokens: int


def estimate(config: Config, instructions: Sequence[Instruction], templates: Mapping[Language, Templates]) -> Estimate:
    """Expected calls and tokens, if each document has the requested length."""
    calls = prompt = resent = completion = 0
    for row in instructions:
        per_word = _TOKENS_PER_WORD[row.language]
        words = row.required_words or _UNSTATED_WORDS
        if config.generate.mode == "direct":
            calls, prompt = calls + 1, prompt + round(count_words(row.text) * per_word)
            completion += round(words * per_word)
            continue
        steps = expected_steps(config, row)
        text, plan = words * per_word, steps * _PLAN_LINE_TOKENS
        asked = count_words(row.text) * per_word
        template = [count_words(part) * per_word for part in templates[row.language]]
        again = (steps - 1) / 2 * text if config.generate.mode == "sequential" else 0
        calls += 1 + steps
        prompt += round(template[0] + asked + steps * (template[1] + asked + plan + _PLAN_LINE_TOKENS) + again)
        resent += round(again)
        completion += round(plan + text)
    return Estimate(calls, prompt, resent, completion)


def estimate_cost(config: Config) -> float | None:
    """Dollars for the drafts of a config; None if the teacher's price is unknown.

    Raises:
        LwexpError: If the instructions or prompts cannot be read.
    """
    rates = rates_of(config.teacher)
    if rates is None or config.teacher.is_free:
        return None if rates is None else 0.0
    rows = find_instructions(config.generate.instructions, seed=config.seed, root=Path(config.root)).rows
    form = plan_form(config.generate.plan, config.teacher)
    found = estimate(config, rows, load_templates(config.generate, form))
    return rates.cost(found.prompt_tokens, found.completion_tokens)


def expected_steps(config: Config, row: Instruction) -> int:
    """Probable number of paragraphs of a document; the plan takes one more call."""
    if config.generate.mode == "direct":
        return 0
    return max(1, round((row.required_words or _UNSTATED_WORDS) / config.teacher.paragraph_length))


def describe(config: Config, instructions: Sequence[Instruction], templates: Mapping[Language, Templates]) -> str:
    """The lines that ``dry_run=true`` prints."""
    found = estimate(config, instructions, templates)
    teacher = config.teacher
    lengths = Counter((row.language, row.required_words) for row in instructions)
    listed = ", ".join(
        f"{n} {language} x {f'{words:,} words' if words else 'no stated length'}"
        for (language, words), n in sorted(lengths.items(), key=lambda item: (item[0][0], item[0][1] or 0))[:12]
    )
    more = f", and {len(lengths) - 12} more lengths" if len(lengths) > 12 else ""
    rates = rates_of(teacher)
    if rates is None:
        cost = "unknown; set teacher.price='{input_per_mtok: <dollars>, output_per_mtok: <dollars>}'"
    else:
        dollars = rates.cost(found.prompt_tokens, found.completion_tokens)
        cached = rates.cost(found.prompt_tokens, found.completion_tokens, found.resent_tokens)
        cost = f"about ${dollars:,.2f}"
        cost += f", ${cached:,.2f} if the provider caches what is sent again" if cached < dollars else ""
        limit = teacher.limits.budget_usd
        cost += f" (budget_usd: {'none' if limit is None else f'${limit:,.2f}'})" if dollars else ""
    return "\n".join(
        (
            f"teacher       {teacher.model}",
            f"instructions  {len(instructions):,}: {listed}{more}",
            *(f"              {' '.join(row.text.split())[:100]}" for row in instructions[:_SHOWN]),
            f"calls         {found.calls:,}",
            f"prompt        {found.prompt_tokens:,} tokens, of which {found.resent_tokens:,} are text sent again",
            f"completion    {found.completion_tokens:,} tokens",
            f"cost          {cost}",
        )
    )
