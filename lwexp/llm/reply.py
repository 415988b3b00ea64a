"""litellm's answer as a ``Reply``: finish reasons by the provider's own word, counts that can be stored."""

from typing import Any

from lwexp.llm.answer import Reply
from lwexp.llm.errors import Fault
from lwexp.text.encodable import encodable

_MOST_TOKENS = 1 << 40
_REASONING = ("reasoning_content", "reasoning")  # where servers with a reasoning parser put it

# litellm knows fewer words than there are: it turns an unknown one into "stop" and keeps the provider's beside it.
_STOP = {
    "stop", "stop_sequence", "end_turn", "complete", "completed", "eos", "eos_token", "end", "done", "finished", "none",
}  # fmt: skip
_LENGTH = {
    "length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_length", "model_length", "token_limit",
    "model_context_window_exceeded",
}  # fmt: skip
_FILTER = {
    "content_filter", "content_filtered", "sensitive", "safety", "refusal", "recitation", "blocklist", "spii",
    "prohibited_content", "guardrail_intervened", "error_toxic", "language", "blocked",
}  # fmt: skip


def read_reply(answer: Any) -> Reply:
    """Read what litellm returned.

    Raises:
        Fault: If it is no answer, whatever is wrong with it.
    """
    try:
        if not answer.choices:
            raise Fault("garbage", "an answer without choices", "retry", may_have_cost=True)
        choice, usage = answer.choices[0], getattr(answer, "usage", None)
        details = getattr(usage, "prompt_tokens_details", None)
        text, replaced = encodable(choice.message.content or "")
        reasoning = next((found for name in _REASONING if (found := getattr(choice.message, name, None))), "")
        return Reply(
            text=text,
            finish_reason=_finish_reason(choice),
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            cached_tokens=_count(details, "cached_tokens"),
            replaced=replaced,
            reasoning=encodable(str(reasoning)).value,
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise Fault("garbage", f"an answer that cannot be read: {error}", "retry", may_have_cost=True) from None


def _finish_reason(choice: Any) -> str:
    """stop, length or content_filter; any other word means that the text is no finished one, whatever it is."""
    beside = getattr(choice, "provider_specific_fields", None) or {}
    if beside.get("error"):
        return "error"
    word = str(beside.get("native_finish_reason") or choice.finish_reason or "stop")
    known = (("stop", _STOP), ("length", _LENGTH), ("content_filter", _FILTER))
    return next((ours for ours, words in known if word.lower() in words), word)


def _count(usage: Any, name: str) -> int:
    """A number of tokens as providers send it: missing, null, 100.0, or more than SQLite can hold."""
    return min(max(0, int(getattr(usage, name, None) or 0)), _MOST_TOKENS)
