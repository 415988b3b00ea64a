"""Leaves out or renames parameters that a server refuses: learnt at the first refusal, remembered, reported once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.wordings import Option

log = logging.getLogger(__name__)


class Adaptation:
    """The parameters that one endpoint refuses.

    They stay in the ledger's key: the question is the same, and the next start must find its answers.

    Args:
        endpoint: The endpoint whose requests are adapted.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._refused: dict[str, Option] = {}

    def apply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request in the form that this endpoint accepts."""
        arguments = dict(request)
        for option in self._refused.values():
            if option.name == "max_completion_tokens":
                arguments["extra_body"] = _with(arguments, max_completion_tokens=arguments.pop("max_tokens"))
            elif option.name == "enable_thinking":
                arguments["extra_body"] = _with(arguments, enable_thinking=False)
            elif option.most is not None:
                arguments["max_tokens"] = min(arguments["max_tokens"], option.most)
            else:
                arguments.pop(option.name, None)
        return arguments

    def learn(self, option: Option, request: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
        """Remember a parameter that a server refused.

        Args:
            option: The parameter.
            request: The request before ``apply``.
            sent: The request after it.

        Returns:
            Whether ``apply`` now gives a different request, which is worth sending.
        """
        if option.name in self._endpoint.parameters() or option.name in self._of_extra_body():
            return False  # set by the user; leaving it out would be a different experiment
        if option.most is not None and self._endpoint.max_tokens <= option.most:
            return False  # a higher limit for one answer only, which this model does not accept
        before = self._refused.get(option.name)
        self._refused[option.name] = option
        # Renaming comes last, so that it also applies to a limit learnt later.
        self._refused = dict(sorted(self._refused.items(), key=lambda item: item[0] == "max_completion_tokens"))
        if self.apply(request) == dict(sent):
            self._refused.pop(option.name)
            if before is not None:
                self._refused[option.name] = before
            return False
        if option != before:
            section = self._endpoint.section
            log.warning("%s %s: %s", section, self._endpoint.model, self._said(option, section))
        return True

    def _said(self, option: Option, section: str) -> str:
        match option.name:
            case "response_format":
                return (
                    "the server takes no JSON schema, so the prompt alone asks for JSON from here on "
                    f"({section}.json_schema=false sends none from the start)"
                )
            case "max_completion_tokens":
                return "the server wants max_completion_tokens in place of max_tokens, and gets it from here on"
            case "max_tokens":
                return (
                    f"the server writes at most {option.most:,} tokens; set {section}.max_tokens={option.most} or less"
                )
            case "enable_thinking":
                return (
                    "the server thinks only in streams, so thinking is off from here on "
                    f"({section}.options='{{extra_body: {{enable_thinking: false}}}}' says so from the start)"
                )
            case "seed":
                return "the server takes no seed, so none is sent from here on"
        value, unsent = getattr(self._endpoint, option.name), self._endpoint.without(option.name)
        return (
            f"the server does not take {option.name}={value}, so its own value counts from here on; "
            f"set {unsent} to choose that"
        )

    def _of_extra_body(self) -> Mapping[str, Any]:
        body = self._endpoint.parameters().get("extra_body")
        return body if isinstance(body, Mapping) else {}


def _with(arguments: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    return {**(arguments.get("extra_body") or {}), **values}


_known: dict[tuple[str, str, str], Adaptation] = {}


def adaptation_of(endpoint: Endpoint) -> Adaptation:
    """What this process has learnt about an endpoint; the clients of one command share it."""
    name = endpoint.section, endpoint.model, str(getattr(endpoint, "base_url", None))
    if name not in _known:
        _known[name] = Adaptation(endpoint)
    found = _known[name]
    found._endpoint = endpoint
    return found


def forget() -> None:
    """Forget all refusals; for tests."""
    _known.clear()
