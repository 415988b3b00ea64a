"""A plan before a text in one answer, for models that learn to plan first: joined here, and taken apart again here."""

PLAN_END = "\n\n***\n\n"
"""Stands between plan and text. Three asterisks on a line of their own: no plan line and no paragraph is that."""


def with_plan(plan: str, text: str) -> str:
    """The answer of a model that plans first."""
    return f"{plan.strip()}{PLAN_END}{text}"


def after_plan(answer: str) -> str:
    """The text of such an answer; the whole answer where no plan ends in it.

    Example:
        ``after_plan(with_plan("1. Roots", "Trees have roots.")) == "Trees have roots."``
    """
    plan, end, text = answer.partition(PLAN_END)
    return text if end else plan
