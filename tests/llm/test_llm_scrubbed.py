"""Keys in addresses, in the environment, and in what a server repeats."""

import base64
import json
from urllib.parse import quote

import pytest

from lwexp.config.base import validate
from lwexp.config.compose import compose_tree
from lwexp.config.schema import Config
from lwexp.config.secrets import refuse_arguments
from lwexp.extend.endpoint import Hosted
from lwexp.llm.errors import classify
from lwexp.llm.key import require_key, scrubbed, scrubbed_reply
from lwexp.records import LwexpError

CANARY = "c4n4ry+x7/q2=Z-tail"
PLAIN = "c4n4ryx7q2Ztail"
# Twelve kinds of secret in an address.
URLS = [
    f"http://127.0.0.1:1/v1?auth={PLAIN}", f"http://127.0.0.1:1/v1?subscription-key={PLAIN}",
    f"http://127.0.0.1:1/v1?X-Amz-Signature={PLAIN}", f"http://127.0.0.1:1/v1?code={PLAIN}",
    f"http://127.0.0.1:1/v1?apiKey={PLAIN}", f"http://127.0.0.1:1/v1?API_KEY={PLAIN}",
    f"http://127.0.0.1:1/v1?a=1;token={PLAIN}", f"http://127.0.0.1:1/v1#token={PLAIN}", f"http://{PLAIN}@127.0.0.1:1/v1",
    f"http://user:{PLAIN}@127.0.0.1:1/v1", f"http://127.0.0.1:1/v1;jsessionid={PLAIN}", f"http://127.0.0.1:1/v1?{PLAIN}",
]  # fmt: skip


@pytest.fixture(scope="module")
def composed() -> dict[str, object]:
    return compose_tree("teacher=gpt4o", "judge=gpt4o", "engine=litellm", "engine.model=openai/x")


@pytest.mark.parametrize("url", URLS)
def test_a_secret_in_an_address_is_refused_at_every_door_and_not_repeated(
    composed: dict[str, dict[str, object]], url: str
) -> None:
    for section in ("teacher", "judge", "engine"):
        with pytest.raises(LwexpError, match=rf"^{section}\.base_url") as typed:
            refuse_arguments([f"{section}.base_url={url}"])
        changed = {**composed, section: {**composed[section], "base_url": url}}  # as from a YAML file
        with pytest.raises(LwexpError) as stored:
            validate(changed, Config)
        for refused in (typed, stored):
            assert PLAIN not in str(refused.value)
            assert "\n" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://api.example.org/openai/v1/", "http://[::1]:1"])
def test_scheme_host_port_and_path_are_an_address(composed: dict[str, dict[str, object]], url: str) -> None:
    """The control."""
    refuse_arguments([f"teacher.base_url={url}", "teacher.base_url=null"])
    validate({**composed, "teacher": {**composed["teacher"], "base_url": url}}, Config)


@pytest.mark.parametrize("url", ["host:8000", "ftp://host/v1", "http://", "//host", "http://ho st/", "http://h:99999/"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(LwexpError, match=r"^teacher\.base_url: "):
        refuse_arguments([f"teacher.base_url={url}"])


ECHOES = {
    "as it is": CANARY,
    "in an address": quote(CANARY, safe=""),
    "in a path": quote(CANARY),
    "in JSON": json.dumps(CANARY),
    "in JSON in JSON": json.dumps(json.dumps(CANARY)),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(CANARY.encode()).decode(),
    "base64 with Bearer": base64.b64encode(f"Bearer {CANARY}".encode()).decode(),
    "base64 with a user": base64.b64encode(f"me:{CANARY}".encode()).decode(),
    "hexadecimal": CANARY.encode().hex(),
    "hexadecimal in capitals": CANARY.encode().hex().upper(),
    "every byte quoted": "".join(f"%{byte:02X}" for byte in CANARY.encode()),
}


@pytest.mark.parametrize("how", ECHOES)
def test_a_key_that_a_server_repeats_is_not_in_the_message(how: str) -> None:
    echo = ECHOES[how]
    fault = classify(RuntimeError(f"wrong key {echo} for you"), secret=CANARY)
    assert "***" in fault.detail
    assert echo not in fault.detail
    for hide in (scrubbed, scrubbed_reply):
        assert hide(f"a {echo} b", CANARY).count("***") == 1
        # What is left of base64 decodes to a few characters of the key at most.
        assert len(hide(echo, CANARY).replace("***", "").strip('"\\')) <= 12


def test_other_texts_stay_as_they_are() -> None:
    text = "The canary sang; 63346e cafe, Z-tail."
    for hide in (scrubbed, scrubbed_reply):
        assert hide(text, CANARY) == text
        assert hide(text, None) == text


@pytest.mark.parametrize("key", ["x", "none", "EMPTY", "ollama", "secret", "sk-12345678"])
def test_a_short_key_may_be_a_word_of_a_reply_and_is_hidden_in_messages_alone(key: str) -> None:
    """A message loses nothing by it; a draft or a verdict is paid for."""
    text = f"The {key} was {key.upper()}."
    assert scrubbed_reply(text, key) == text
    assert scrubbed(text, key).startswith("The *** was")


def test_letters_of_another_case_in_a_reply_are_another_text() -> None:
    key = "mountain-river"
    assert scrubbed_reply("Mountain-River, not mountain-river", key) == "Mountain-River, not ***"
    assert scrubbed("Mountain-River, not mountain-river", key) == "***, not ***"


def endpoint(model: str, base_url: str | None = None) -> Hosted:
    return Hosted(kind="litellm", model=model, temperature=0, max_tokens=1, base_url=base_url)


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/gpt-4o", "OPENAI_BASE_URL"), ("openai/gpt-4o", "OPENAI_API_BASE"), ("gpt-4o", "OPENAI_BASE_URL"),
     ("deepseek/deepseek-chat", "DEEPSEEK_API_BASE"), ("hosted_vllm/x", "HOSTED_VLLM_API_BASE")],
)  # fmt: skip
def test_a_server_named_by_the_environment_alone_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: str, variable: str
) -> None:
    require_key(endpoint(model))
    monkeypatch.setenv(variable, f"http://127.0.0.1:1/{PLAIN}")
    with pytest.raises(LwexpError, match=f"environment variable {variable} would send the calls to another") as refused:
        require_key(endpoint(model))
    assert PLAIN not in str(refused.value)
    require_key(endpoint(model, "http://127.0.0.1:2/v1"))  # the config's own address is the one that is used


def test_a_name_without_a_provider_is_that_of_litellms_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    model = "claude-sonnet-4-5"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    require_key(endpoint(model))  # litellm does not read that one for Claude
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(LwexpError, match="environment variable ANTHROPIC_BASE_URL would send"):
        require_key(endpoint(model))
