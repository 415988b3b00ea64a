"""What an engine receives and returns. Requests and results are matched by id, never by position."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from lwexp.config.evaluate import SampleConfig
from lwexp.records import Prompt

# English needs 1.3 to 1.5 tokens a word, Chinese less than 1 a character; the rest allows for answers longer than
# requested.
_TOKENS_A_WORD = 2

Finish = Literal["stop", "length", "loop"]
"""Why an answer ended: by itself, at ``sample.max_new_tokens``, or as ``sample.stop_after_repeats`` says."""


class SampleRequest(NamedTuple):
    """A request for one answer to a prompt."""

    id: str  # of the response
    prompt: Prompt
    seed: int  # stored with the response; with the prompt's id it seeds the answer's random numbers


class SampleResult(NamedTuple):
    """An engine's answer to one request."""

    id: str
    text: str
    finish_reason: Finish
    reasoning: str = ""  # from a separate field; reasoning within the text stays there
    num_tokens: int = 0  # of the answer, without the stop token; 0 if the engine does not say


def expected_tokens(prompt: Prompt, sample: SampleConfig) -> int:
    """A generous guess at an answer's length, by which memory and work are planned."""
    words = prompt.required_words
    return sample.max_new_tokens if words is None else min(_TOKENS_A_WORD * words, sample.max_new_tokens)


def longest_first(requests: Iterable[SampleRequest]) -> list[SampleRequest]:
    """Similar lengths together; the longest first, so that no single long answer remains at the end."""
    return sorted(requests, key=lambda request: -(request.prompt.required_words or 0))
