"""What it took to write a draft. Apart from the draft itself: tries differ between two runs whose texts are equal."""

from pydantic import Field

from lwexp.records.rows import Row


class StepTrace(Row):
    """One paragraph's call."""

    cost_usd: float = Field(ge=0)
    attempts: int = Field(ge=1)  # times it was sent until an answer came
    cleaned: tuple[str, ...]  # cleaning rules that changed the paragraph


class Trace(Row):
    """One draft's calls. ``id`` is the draft's."""

    id: str
    plan_cost_usd: float = Field(ge=0)
    plans_asked: int = Field(ge=0)  # 2 where the first plan could not be used
    steps: tuple[StepTrace, ...]
