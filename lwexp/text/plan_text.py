"""Plans as text: a line in the paper's form, and a plan before a text in one answer (of models that plan first)."""

from lwexp.records import Language

PLAN_END = "\n\n***\n\n"
"""Separator between plan and text: a line of three asterisks, which occurs in neither."""


def plan_line(number: int, point: str, words: int, language: Language) -> str:
    """A step as the paper's prompts want it."""
    if language == "zh":
        return f"段落{number} - 主要内容：{point} - 字数：{words}字"
    return f"Paragraph {number} - Main Point: {point} - Word Count: {words} words"


def with_plan(plan: str, text: str) -> str:
    """The answer of a model that plans first."""
    return f"{plan.strip()}{PLAN_END}{text}"


def after_plan(answer: str) -> str:
    """The text of such an answer; the whole answer if it has no separator.

    Example:
        ``after_plan(with_plan("1. Roots", "Trees have roots.")) == "Trees have roots."``
    """
    plan, end, text = answer.partition(PLAN_END)
    return text if end else plan
