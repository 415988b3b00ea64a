"""What an engine receives and returns. Requests and results are matched by id, never by position."""

from typing import Literal, NamedTuple

from lwexp.records import Prompt


class SampleRequest(NamedTuple):
    """A request for one answer to a prompt."""

    id: str  # of the response
    prompt: Prompt
    seed: int  # stored with the response; with the prompt's id it seeds the answer's random numbers


class SampleResult(NamedTuple):
    """An engine's answer to one request."""

    id: str
    text: str
    finish_reason: Literal["stop", "length"]
    reasoning: str = ""  # from a separate field; reasoning within the text stays there
