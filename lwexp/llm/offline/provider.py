"""litellm provider ``offline``: stand-ins that need no key and use the same path as every real model.

``offline/teacher`` writes by a text grammar, ``offline/judge`` scores by a heuristic. Their output shows that the
recipe works, never how good a model is.
"""

from typing import Any

import litellm
from litellm.types.utils import Choices, Message, Usage

from lwexp.llm.offline.judge import judge_reply
from lwexp.llm.offline.teacher import teacher_reply

PROVIDER = "offline"


class OfflineProvider(litellm.CustomLLM):  # type: ignore[misc]
    """Answers at once and the same way every time."""

    async def acompletion(
        self,
        model: str,
        messages: list[dict[str, str]],
        model_response: Any,
        optional_params: dict[str, Any],
        **_: Any,
    ) -> Any:
        """Fill litellm's response with the stand-in's reply."""
        if model == "judge":
            reply = judge_reply(messages, schema=optional_params.get("response_format"))
        elif model == "teacher":
            names = ("seed", "paragraph_words", "length_noise", "max_tokens")
            reply = teacher_reply(messages, **{name: optional_params[name] for name in names})
        else:
            raise litellm.NotFoundError(f"there is no {PROVIDER}/{model}; wanted teacher or judge", model, PROVIDER)
        message = Message(role="assistant", content=reply.text)
        model_response.model = f"{PROVIDER}/{model}"
        model_response.choices = [Choices(index=0, finish_reason=reply.finish_reason, message=message)]
        model_response.usage = Usage(
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            total_tokens=reply.prompt_tokens + reply.completion_tokens,
        )
        return model_response


def make_known() -> None:
    """Register ``offline/...`` in litellm, beside providers that others may have registered."""
    if all(entry["provider"] != PROVIDER for entry in litellm.custom_provider_map):
        handler = {"provider": PROVIDER, "custom_handler": OfflineProvider()}
        litellm.custom_provider_map = [*litellm.custom_provider_map, handler]
    # List a price of 0: for an unlisted model, litellm searches its table at each call (1.5 ms instead of 1.2).
    free = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "litellm_provider": PROVIDER, "mode": "chat"}
    litellm.model_cost |= {f"{PROVIDER}/{model}": free for model in ("teacher", "judge")}
