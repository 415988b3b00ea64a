"""Any model that litellm reaches, as teacher, as judge, or answering a bench."""

from typing import ClassVar, Literal

from lwexp.extend.endpoint import AskedJudge, Hosted, Teacher
from lwexp.extend.registry import register


@register
class LiteLLMTeacher(Hosted, Teacher):
    kind: Literal["litellm"] = "litellm"


@register
class LiteLLMJudge(Hosted, AskedJudge):
    kind: Literal["litellm"] = "litellm"


class LiteLLMWriter(Hosted):
    """Answers a bench (engine=api); built from the engine's and the sampling settings, not from a config group."""

    section: ClassVar[str] = "engine"
    kind: Literal["litellm"] = "litellm"

    def without(self, parameter: str) -> str:
        return f"sample.{parameter}=1.0"  # never null: each answer is stored with its sampling
