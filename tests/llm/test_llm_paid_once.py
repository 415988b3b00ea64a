"""Money: the budget is kept even if the provider counts no tokens, and no run pays for an answer twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.llm.answer import Answer, Reply
from lwexp.llm.budget import charge_of
from lwexp.llm.errors import OutOfMoney
from lwexp.llm.ledger import Ledger, request_key
from lwexp.llm.price import Rates
from lwexp.runs import RunDirectory
from tests.llm.providers.evaluations import bench_file, evaluation, judge
from tests.llm.providers.runs import ask, endpoint, instruction_file, select_from, teacher
from tests.llm.providers.server import Provider

PRICE = "teacher.price={input_per_mtok: 1000, output_per_mtok: 1000}"
ONE_BY_ONE = "teacher.limits.concurrency=1"


@pytest.mark.parametrize("behaviour", ["no_usage", "usage_null", "usage_zero", "usage_half"])
def test_a_budget_is_hard_where_the_provider_counts_nothing(
    behaviour: str, provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Eight calls of up to 8,192 tokens at $1,000 per million: at most $8.2 each, so the sixth or seventh may not
    be sent. The server writes 160 tokens a call, $0.16, and so it too stays far below $50."""
    texts = [f"Write about tea {i}." for i in range(8)]
    model = endpoint(provider, behaviour, PRICE, ONE_BY_ONE, "teacher.limits.budget_usd=50")
    for _ in range(2):  # another start counts what this one spent
        with pytest.raises(OutOfMoney, match=r"budget_usd=50 is reached"):
            ask(model, tmp_path, texts)
    assert len(provider.calls) == 6
    assert len(provider.calls) * 160 * 1000 / 1e6 < 50
    assert caplog.text.count("leaves out how many tokens it charges for") == 1
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert 6 * 8.1 < totals.cost_usd + totals.lost_usd <= 50
    # An answer of 164 bytes is estimated at 55 tokens, its prompt of 18 bytes and a frame of 16, with the bytes of
    # "no schema" (2), at 12: $0.067.
    assert totals.cost_usd / 6 == pytest.approx(0.067, abs=0.02) or behaviour == "usage_half"


@pytest.mark.parametrize("section", ["teacher", "judge"])
def test_eight_calls_of_eight_dollars_stop_before_fifty(section: str, provider: Provider, tmp_path: Path) -> None:
    """By the server's own count: 8,000 tokens at $1,000 a million, of which it says nothing. Eight would be $64."""
    behaviour = "charges_8000_tokens"
    budget = (
        f"{section}.price={{input_per_mtok: 1000, output_per_mtok: 1000}}", f"{section}.limits.budget_usd=50",
        f"{section}.limits.concurrency=1", f"{section}.max_tokens=8192",
    )  # fmt: skip
    texts = [f"Write a 60-word story about tea {n}." for n in range(8)]
    given = tmp_path / "given.jsonl"
    given.write_text("".join(f'{{"prompt": "{text}", "response": "Tea."}}\n' for text in texts))

    def spend() -> None:
        if section == "teacher":
            ask(endpoint(provider, behaviour, *budget), tmp_path, texts)
        else:
            source = (f"responses={given}", *judge(provider, behaviour), *budget)
            evaluation(tmp_path / "runs", bench_file(tmp_path, texts), *source)

    for _ in range(2):  # another start remembers what this one spent
        with pytest.raises(OutOfMoney, match=rf"{section}\.limits\.budget_usd=50 is reached"):
            spend()
    dollars = provider.state["charged"] * 1000 / 1e6
    assert 8 * 4 <= dollars < 50


def test_a_provider_that_counts_is_charged_by_its_count(provider: Provider, tmp_path: Path) -> None:
    """Negative control: 160 tokens at $0.001 are $0.16 a call, and all eight go through."""
    model = endpoint(provider, "healthy", PRICE, ONE_BY_ONE, "teacher.limits.budget_usd=50")
    answers = ask(model, tmp_path, [f"Write about tea {i}." for i in range(8)])
    assert [answer.cost_usd for answer in answers if isinstance(answer, Answer)] == pytest.approx([0.16] * 8)


def test_an_estimate_counts_three_bytes_a_token() -> None:
    request = {"messages": [{"content": "x" * 42}], "max_tokens": 10}
    # Prompt: 42 bytes, 16 for the frame, 2 for the schema that is not there: 60 / 3. Answer: 6 + 3 bytes / 3.
    charge = charge_of(request, Reply("a" * 6, "stop", 0, 0, reasoning="b" * 3), Rates(1.0, 1.0, 2.0))
    assert charge == (20, 3, 26.0, True)
    counted = charge_of(request, Reply("a", "stop", 7, 8), Rates(1.0, 1.0, 2.0))
    assert counted == (7, 8, 23.0, False)


def run_of(folder: Path, provider: Provider, file: Path, *overrides: str) -> RunDirectory:
    run = write_drafts(
        compose(
            f"root={folder / 'runs'}", "instructions=file", f"generate.instructions.path={file}",
            *teacher(provider, "healthy", PRICE, *overrides),
        )
    )  # fmt: skip
    assert run is not None
    return run


def test_a_change_that_does_not_change_a_request_pays_for_nothing(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, each of these seven paid for all calls again. The drafts are the same; only the first run has spent.
    The name of a key's variable and a price are not even another run."""
    monkeypatch.setenv("B_KEY", "canary-0")
    file = instruction_file(tmp_path)
    copy = instruction_file(tmp_path, name="copy.jsonl")
    first = run_of(tmp_path, provider, file)
    paid = len(provider.calls)
    assert paid == 7 * 3
    other_name = provider.url.replace("127.0.0.1", "localhost")
    changes: list[tuple[Path, tuple[str, ...]]] = [
        (copy, ()),
        (file, (f"teacher.base_url={other_name}",)),
        (file, ("name=other",)),
        (file, ("generate.min_words=1",)),
        (file, ("generate.instructions.count=7",)),
    ]
    for path, overrides in changes:
        run = run_of(tmp_path, provider, path, *overrides)
        assert run.path != first.path
        assert len(provider.calls) == paid, overrides
        assert run.manifest.results is not None
        assert (run.manifest.results["calls"], run.manifest.results["cost_usd"]) == (21, 0.0)
        if path == file:
            assert (run.path / "drafts.jsonl").read_bytes() == (first.path / "drafts.jsonl").read_bytes()
    for same in ("teacher.api_key_env=B_KEY", "teacher.price={input_per_mtok: 1, output_per_mtok: 2}"):
        assert run_of(tmp_path, provider, file, same).path == first.path
        assert len(provider.calls) == paid
    # Negative controls: another seed, and another root, ask again.
    run_of(tmp_path, provider, file, "seed=1")
    run_of(tmp_path / "elsewhere", provider, file)
    assert len(provider.calls) == 3 * paid


def test_a_selection_shares_too_and_a_broken_ledger_next_door_is_left_alone(provider: Provider, tmp_path: Path) -> None:
    texts = [f"Write a long novel about {thing} and a hundred years." for thing in ("a mill", "the last orchard")]
    more = ("select.counts={en: 2, zh: 0}", PRICE)
    select_from(tmp_path, provider, "healthy", *more, texts=texts)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "ledger.sqlite").write_text("no database")
    run = select_from(tmp_path, provider, "healthy", *more, "name=again", texts=texts)
    assert run.manifest.results["instructions"] == 2
    assert len(provider.calls) == 2


def test_the_names_of_this_machine_are_one_address_and_no_other_is() -> None:
    def key(address: str | None) -> str:
        return request_key({"base_url": address, "messages": []})

    assert len({key(f"http://{host}:8000/v1") for host in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST")}) == 1
    others = (None, "http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1", "http://localhost.example:8000/v1")
    assert len({key(address) for address in others}) == 4
