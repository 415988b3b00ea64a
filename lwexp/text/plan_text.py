"""Writes plans as text: one line in the paper's form, or a plan in front of the answer (for models that plan first)."""

from lwexp.records import Language

PLAN_END = "\n\n***\n\n"
"""Separator between plan and text: a line of three asterisks, which neither of them contains."""


def plan_line(number: int, point: str, words: int, language: Language) -> str:
    """A step in the form that the paper's prompts ask for."""
    if language == "zh":
        return f"段落{number} - 主要内容：{point} - 字数：{words}字"
    return f"Paragraph {number} - Main Point: {point} - Word Count: {words} words"


def with_plan(plan: str, text: str) -> str:
    """Join plan and text into the answer of a model that plans first."""
    return f"{plan.strip()}{PLAN_END}{text}"


def after_plan(answer: str) -> str:
    """The text of an answer that may begin with a plan; the whole answer if it has no separator.

    Example:
        ``after_plan(with_plan("1. Roots", "Trees have roots.")) == "Trees have roots."``
    """
    plan, end, text = answer.partition(PLAN_END)
    return text if end else plan
