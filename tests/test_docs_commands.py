"""Every command of README and docs is one that lwexp takes, and is marked if it needs a GPU, a key or more."""

import re

import pytest

from lwexp.commands import COMMANDS
from lwexp.config import compose
from lwexp.records import LwexpError
from tests import ROOT, docs_commands
from tests.docs_commands import PAGES, SCRIPTS, Command, all_commands, call_of, composed, needs, settings_of

SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "lwexp").rglob("*.py")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_compose_and_their_blocks_are_marked(page):
    """Each command of lwexp passes the gate of the config with the settings on the page."""
    assert docs_commands.page_with_marks(page) == page.read_text(encoding="utf-8"), "run python -m tests.docs_commands"


def test_the_pages_have_commands():
    """Guards against a pattern that finds nothing: README has four, start.md five and three."""
    found = [one.page.name for one in all_commands()]
    assert found.count("README.md") == 5  # make install && source ... are two
    assert found.count("start.md") == 9
    assert len(found) > 120


def test_a_command_that_shows_a_mistake_gives_that_message():
    shown = [one for one in all_commands() if one.answer.startswith("error: ")]
    assert len(shown) >= 2
    for one in shown:
        call = call_of(one.text)
        assert call is not None
        with pytest.raises(LwexpError) as error:
            compose(*call.words)
        assert f"error: {error.value}" == one.answer.splitlines()[0], one.text


def test_commands_without_a_config_and_their_options_exist():
    calls = [call for one in all_commands() if (call := call_of(one.text)) is not None]
    assert {call.name for call in calls} <= set(COMMANDS)
    options = [
        word.partition("=")[0]
        for call in calls
        if call.name not in SCRIPTS.values()
        for word in call.words
        if "=" in word
    ]
    assert [option for option in options if f'"{option}"' not in SOURCES and option != "seed"] == []


def test_makefile_targets_and_modules_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for one in all_commands():
        words = one.text.split()
        if words[0] == "make" and len(words) > 1:
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), one.text
        if words[:2] == ["python", "-m"] and words[2] not in docs_commands.MODULES:
            path = ROOT / words[2].replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), one.text


def command(text: str) -> Command:
    return Command(ROOT / "README.md", text, "")


def test_wrong_commands_are_found():
    with pytest.raises(LwexpError, match=r"did you mean pack\.max_tokens"):
        needs(command("lwexp train pack.max_token=512"))
    with pytest.raises(LwexpError, match="model"):
        needs(command("torchrun --nproc_per_node=8 train.py model=glm5"))
    with pytest.raises(ValueError, match="lwxp"):
        call_of("lwxp train")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("lwexp train experiment=smoke", set()),
        ("lwexp train model=glm4", {"gpu"}),
        ("lwexp train model=glm4 dry_run=true", set()),
        ("lwexp generate teacher=gpt4o", {"key"}),
        ("lwexp generate task=import source=me/my-set", {"network"}),
        ("lwexp train -m hydra/launcher=slurm seed=0,1", {"cluster"}),
        ("hf download me/model", {"network"}),
    ],
)
def test_needs(text, needed):
    assert needs(command(text)) == needed


def test_a_missing_mark_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Train:\n\n```\nlwexp train model=glm4\n```\n")
    assert docs_commands.page_with_marks(page) == "Train:\n\n<!-- needs: gpu -->\n```\nlwexp train model=glm4\n```\n"


@pytest.mark.parametrize("first_word", ["lwxp", "pyhton", "conversations:", "{", "1"])
@pytest.mark.parametrize("opening", ["```", "```bash", "  ```console"])
def test_an_unknown_first_word_is_found_in_every_block_of_a_shell(tmp_path, opening, first_word):
    """Also where the block's other lines are commands, and in a list."""
    page = tmp_path / "page.md"
    indent = opening.partition("`")[0]
    page.write_text(f"Train:\n\n{opening}\n{indent}lwexp train\n{indent}{first_word} train\n{indent}```\n")
    with pytest.raises(ValueError, match=f"^{re.escape(first_word)}: no program that tests/docs_commands.py knows$"):
        docs_commands.page_with_marks(page)


@pytest.mark.parametrize("language", ["text", "yaml", "{toctree}"])
def test_a_block_of_another_language_has_no_commands(tmp_path, language):
    """The block below it is read as one of its own."""
    page = tmp_path / "page.md"
    page.write_text(f"```{language}\nlwxp train\n```\n\nThen:\n\n```\nlwexp train model=glm4\n```\n")
    assert [
        one.text for block in docs_commands.blocks(page) for one in docs_commands.commands_of(page, block["body"])
    ] == ["lwexp train model=glm4"]
    assert "<!-- needs: gpu -->\n```\nlwexp train" in docs_commands.page_with_marks(page)


def test_an_unknown_language_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```bsah\nlwexp train\n```\n")
    with pytest.raises(ValueError, match=r"^page\.md: ```bsah: no language"):
        list(docs_commands.blocks(page))


def test_settings_that_only_a_reader_has_are_left_out():
    call = call_of("lwexp train -m name=a run=<run> objective.optimizer.lr=1e-5,2e-5 +sweeps=lr hydra/launcher=slurm")
    assert call is not None
    assert settings_of(call) == ("objective.optimizer.lr=1e-5",)
    assert composed(settings_of(call)).objective.optimizer.lr == 1e-5
