"""Behaviours of providers by name. Replies and errors have the form quoted in public issue threads."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from tests.llm.providers.said import FILTERS, MONEY, TOO_LONG, UNKNOWN_MODELS
from tests.llm.providers.wire import Call, Response, completion, refusal

Behaviour = Callable[[Call], Response]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    """Make a behaviour known by its function's name."""
    BEHAVIOURS[function.__name__] = function
    return function


@behaviour
def healthy(call: Call) -> Response:
    return completion(call.good)


def broken_text(kind: str) -> Behaviour:
    """Half an emoji and a NUL behind the good answers of one kind."""

    def act(call: Call) -> Response:
        return completion(call.good + " \ud83d\x00" * (call.kind == kind))

    return act


BEHAVIOURS |= {f"broken_{kind}": broken_text(kind) for kind in ("plan", "paragraph", "select", "judge")}


@behaviour
def broken_for_bakers(call: Call) -> Response:
    """One document's paragraphs alone."""
    return completion(call.good + " \ud83d" * ("bakers" in call.prompt and call.kind == "paragraph"))


@behaviour
def huge_numbers(call: Call) -> Response:
    """Numbers of 5,000 digits where numbers are wanted."""
    nines = "9" * 5000
    answers = {
        "plan": f"Paragraph 1 - Main Point: x - Word Count: {nines} words",
        "select": f'{{"needs_long_output": {nines}}}',
        "judge": f'{{"relevance": {nines}}}',
    }
    return completion(answers.get(call.kind, call.good))


@behaviour
def huge_usage(call: Call) -> Response:
    """Token counts that no column holds."""
    return completion(call.good, usage={"prompt_tokens": 10**30, "completion_tokens": 10**30, "total_tokens": 1})


@behaviour
def deep_json(call: Call) -> Response:
    """JSON deeper than Python reads."""
    return completion('{"a":' * 100_000 if call.kind != "paragraph" else call.good)


@behaviour
def hangs(call: Call) -> Response:
    """A server that takes the request and says nothing."""
    if call.number > 1:
        time.sleep(8)
    return completion(call.good)


def topic_number(call: Call) -> int:
    """The number of "story, part N" in the instruction; -1 where there is none."""
    found = re.search(r"story, part (\d+)", call.prompt)
    return int(found[1]) if found else -1


def always(response: Callable[[], Response]) -> Behaviour:
    """Says the same of every request."""
    return lambda call: response()


for _group, _words in (("money", MONEY), ("filter", FILTERS), ("long", TOO_LONG), ("unknown_model", UNKNOWN_MODELS)):
    for _name, _said in _words.items():
        BEHAVIOURS[f"{_group}_{_name}"] = always(_said)


def some_documents(refuse: Callable[[], Response], which: Callable[[int], bool]) -> Behaviour:
    """Refuses the documents whose number fits."""
    return lambda call: refuse() if which(topic_number(call)) else completion(call.good)


BEHAVIOURS["filter_first_five"] = some_documents(FILTERS["alibaba"], lambda number: 0 <= number < 5)
BEHAVIOURS["long_first_five"] = some_documents(TOO_LONG["sglang"], lambda number: 0 <= number < 5)
BEHAVIOURS["odd_first_five"] = some_documents(lambda: refusal(400, "E-4711"), lambda number: 0 <= number < 5)
BEHAVIOURS["odd_always"] = lambda call: refusal(400, "E-4711")


@behaviour
def broke_for_the_last_two(call: Call) -> Response:
    if topic_number(call) > 4 and call.state.get("is_broke"):
        return MONEY["deepseek"]()
    return completion(call.good)


@behaviour
def broke_after_eight(call: Call) -> Response:
    if len(call.state.setdefault("answered", [])) >= 8 and not call.state.get("topped_up"):
        return MONEY["openrouter"]()
    call.state["answered"].append(call.number)
    return completion(call.good)


@behaviour
def busy(call: Call) -> Response:
    return Response(503, b"<html>503 Service Temporarily Unavailable</html>", "text/html")


# Servers that do not take a parameter.
@behaviour
def no_schema(call: Call) -> Response:
    """DeepSeek's chat API."""
    if "response_format" in call.request:
        return refusal(400, "This response_format type is unavailable now", code="invalid_request_error")
    return completion(call.good)


BEHAVIOURS["deepseek-chat"] = no_schema  # under the provider's own name, for its preset


@behaviour
def no_seed(call: Call) -> Response:
    if "seed" in call.request:
        return refusal(400, "Unrecognized request argument supplied: seed")
    return completion(call.good)


@behaviour
def gpt5_behind_a_gateway(call: Call) -> Response:
    """Only its own temperature, and max_completion_tokens."""
    if call.request.get("temperature", 1) != 1:
        said = "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value."
        return refusal(400, said, param="temperature", code="unsupported_value")
    if "max_tokens" in call.request:
        said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
        return refusal(400, said, param="max_tokens", code="unsupported_parameter")
    return completion(call.good)


@behaviour
def at_most_100_tokens(call: Call) -> Response:
    """DeepSeek's wording."""
    if call.request["max_tokens"] > 100:
        return refusal(400, "Invalid max_tokens value, the valid range of max_tokens is [1, 100]")
    return completion(call.good)


@behaviour
def thinks_only_in_streams(call: Call) -> Response:
    """Qwen3 on DashScope."""
    if call.request.get("enable_thinking") is not False:
        return refusal(400, "parameter.enable_thinking must be set to false for non-streaming calls")
    return completion(call.good)


@behaviour
def no_reasoning_effort(call: Call) -> Response:
    if "reasoning_effort" in call.request:
        return refusal(400, "Unknown parameter: 'reasoning_effort'")
    return completion(call.good)


# Answers that are not whole, by the provider's own word.
def ends_with(word: str | None, *, is_whole: bool) -> Behaviour:
    """Half an answer, or a whole one, with a finish reason."""
    return lambda call: completion(call.good if is_whole else call.good[:25], word)


for _word in ("error", "abort", "insufficient_system_resource", "network_error", "tool_calls", "xyz"):
    BEHAVIOURS[f"finish_{_word}"] = ends_with(_word, is_whole=False)
for _end in ("eos", "end_turn", "STOP", None):
    BEHAVIOURS[f"finish_{str(_end).lower()}"] = ends_with(_end, is_whole=True)


@behaviour
def proxied(call: Call) -> Response:
    """litellm's proxy before a healthy model."""
    return completion(call.good, beside={})


def proxied_end(word: str) -> Behaviour:
    """Half an answer through litellm's proxy, which calls every word that it does not know "stop"."""
    return lambda call: completion(call.good[:25], beside={"native_finish_reason": word})


for _word in ("error", "abort", "insufficient_system_resource"):
    BEHAVIOURS[f"proxied_{_word}"] = proxied_end(_word)


@behaviour
def finish_error_first(call: Call) -> Response:
    """OpenRouter's upstream died at the first try of each question."""
    asked = call.state.setdefault("asked", set())
    if call.prompt in asked:
        return completion(call.good)
    asked.add(call.prompt)
    return completion(call.good[:25], "error")


# Models that think first.
THOUGHTS = "Okay, the user wants this. Paragraph 1 - Main Point: a trap - Word Count: 9 words. First I weigh it."
REASONING: dict[str, Behaviour] = {
    "think_tags": lambda call: completion(f"<think>\n{THOUGHTS}\n</think>\n\n{call.good}"),
    # Chat templates that open the block themselves: DeepSeek-R1, Qwen3-Thinking, GLM-4.5.
    "think_closing_tag": lambda call: completion(f"{THOUGHTS}\n</think>\n\n{call.good}"),
    "think_harmony": lambda call: completion(
        f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>{call.good}"
    ),
    "think_field": lambda call: completion(call.good, reasoning_content=THOUGHTS),
}
BEHAVIOURS |= REASONING


def thinks_up_to(tokens: int, *, tags: bool) -> Behaviour:
    """Thinks for so many tokens; an answer with less room is cut there."""

    def act(call: Call) -> Response:
        if call.request["max_tokens"] > tokens:
            return completion(call.good, reasoning_content=THOUGHTS)
        if tags:
            return completion(f"<think>\n{THOUGHTS}", "length")
        return completion("", "length", reasoning_content=THOUGHTS)

    return act


BEHAVIOURS["thinks_longer"] = thinks_up_to(8192, tags=False)
BEHAVIOURS["thinks_longer_in_tags"] = thinks_up_to(8192, tags=True)
BEHAVIOURS["thinks_for_ever"] = thinks_up_to(10**9, tags=False)
BEHAVIOURS["never_closes_its_thoughts"] = lambda call: completion(f"<think>\n{THOUGHTS}\nAnd then", "stop")
BEHAVIOURS["only_thoughts"] = lambda call: completion(None, reasoning_content=f"{THOUGHTS} {call.good}")


def charges_without_a_word(usage: Any) -> Behaviour:
    """Does not say how many tokens it charges for."""
    return lambda call: completion(call.good, usage=usage)


for _name, _usage in {
    "no_usage": ...,
    "usage_null": None,
    "usage_zero": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "usage_half": {"prompt_tokens": 100, "completion_tokens": None, "total_tokens": None},
}.items():
    BEHAVIOURS[_name] = charges_without_a_word(_usage)


@behaviour
def charges_8000_tokens(call: Call) -> Response:
    """Its own count goes up by 8,000 tokens a call; the reply is short and says nothing about them."""
    call.state["charged"] = call.state.get("charged", 0) + 8000
    return completion(call.good, usage=...)


@behaviour
def broken(call: Call) -> Response:
    """Half an emoji and a NUL behind every answer."""
    return completion(call.good + " \ud83d\x00")


@behaviour
def judges_in_prose(call: Call) -> Response:
    """No scores until the test mends it."""
    if call.kind == "judge" and not call.state.get("is_mended"):
        return completion("A <b>fine</b> text, I'd say.")
    return completion(call.good)
