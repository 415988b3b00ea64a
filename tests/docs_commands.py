"""The commands in the fenced blocks of README and docs, and the marks that say what they need.

python -m tests.docs_commands    writes the marks, such as ``<!-- needs: gpu, key -->``, above the blocks
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lwexp.config import compose
from lwexp.config.schema import Config
from tests import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^ *<!-- needs: ([\w, ]+) -->\n)?^(?P<indent> *)```(?P<language>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = {"bash", "sh", "console", ""}
# Blocks of these languages hold no commands. What a command prints, or a file, is marked as text, json or yaml.
OTHER = {"text", "json", "yaml", "python", "toml", "mermaid", "{toctree}", "{eval-rst}"}
SCRIPTS = {"generate_data.py": "generate", "train.py": "train", "evaluate.py": "evaluate"}

# What other programs need. A program that is not listed fails the test.
NETWORK, GPU, KEY, CLUSTER, NOTHING = {"network"}, {"gpu"}, {"key"}, {"cluster"}, set[str]()
PROGRAMS = {
    "git": NETWORK, "hf": NETWORK, "pip": NETWORK, ".venv/bin/pip": NETWORK, "pip-audit": NETWORK, "wandb": NETWORK,
    "vllm": GPU, "lm_eval": GPU, "inspect": KEY, "sbatch": CLUSTER, "srun": CLUSTER, "scancel": CLUSTER,
    "squeue": CLUSTER, "scontrol": CLUSTER, "ssh": NETWORK, "[": CLUSTER, "ollama": NETWORK, "torchrun": NOTHING,
    "cat": NOTHING, "cd": NOTHING, "for": NOTHING, "make": NOTHING, "pre-commit": NOTHING, "source": NOTHING,
    ".": NOTHING, "tensorboard": NOTHING, "ls": NOTHING, "bash": NOTHING,
}  # fmt: skip
MODULES = {"sglang.launch_server": GPU}
STARTERS = {"srun", "torchrun"}  # they start a command of lwexp
# Settings that name what only a reader has; they are left out.
NAMES = {
    "name", "run", "init_from", "root", "source", "responses", "baseline_run", "dry_run", "rerun", "inspect_batch",
    "export.to", "export.name", "bench.name", "judge.prompt", "engine.model", "engine.base_url", "engine.command",
}  # fmt: skip


class Command(NamedTuple):
    page: Path
    text: str
    answer: str  # the lines that the block shows below "$ command"


class Call(NamedTuple):
    """A command of lwexp: ``lwexp train`` or ``python train.py`` with its words."""

    name: str
    words: tuple[str, ...]


def blocks(page: Path) -> Iterator[re.Match[str]]:
    """The blocks of commands.

    Raises:
        ValueError: If a block has a language that is not listed above.
    """
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["language"] not in SHELL | OTHER:
            raise ValueError(f"{page.name}: ```{block['language']}: no language that tests/docs_commands.py knows")
        if block["language"] in SHELL:
            yield block


def commands_of(page: Path, block: str) -> Iterator[Command]:
    """The commands of a block: all its lines but comments. In a block with "$ " the other lines are output."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    for number, line in enumerate(lines):
        text = re.split(r"\s+#\s", line.removeprefix("$ ").strip())[0]
        if prompted != line.startswith("$ ") or not text or text.startswith("#"):
            continue
        answer = "\n".join(lines[number + 1 :]) if prompted else ""
        yield from (Command(page, part.strip(), answer) for part in re.split(r"&&|;", text) if part.strip())


@cache
def all_commands() -> list[Command]:
    return [one for page in PAGES for block in blocks(page) for one in commands_of(page, block["body"])]


def call_of(text: str) -> Call | None:
    """The lwexp command in a line, including one that torchrun or srun starts; None for other programs.

    Raises:
        ValueError: If the line cannot be split into words, or names a program that is not listed above.
    """
    words = [word for word in shlex.split(re.sub(r"<[^<>]*>", "x", text)) if not re.match(r"^[A-Z_]+=", word)]
    program = words[0]
    if program in STARTERS or words[:3] == ["python", "-m", "lwexp.train.parallel.torchrun"]:
        for number, word in enumerate(words):
            if word in SCRIPTS:
                return Call(SCRIPTS[word], tuple(words[number + 1 :]))
            if word == "lwexp" and number + 1 < len(words):
                return Call(words[number + 1], tuple(words[number + 2 :]))
        return None
    if program == "lwexp":
        return Call(words[1], tuple(words[2:]))
    if program == "python" and words[1] in SCRIPTS:
        return Call(SCRIPTS[words[1]], tuple(words[2:]))
    if program == "python" and words[1] == "-m" and re.match(r"lwexp\.(report|export|convert|serve)$", words[2]):
        return Call(words[2].removeprefix("lwexp."), tuple(words[3:]))
    if program == "python" and words[1].endswith(".py") and not (ROOT / words[1]).is_file():
        raise ValueError(f"{words[1]}: no such script")
    if program not in PROGRAMS and program != "python":
        raise ValueError(f"{program}: no program that tests/docs_commands.py knows")
    return None


def settings_of(call: Call) -> tuple[str, ...]:
    """The settings of a command without what only a reader or a sweep has: the first value of a list in a sweep, no
    names of runs and files, no keys of Hydra, which tests of sweeps compose."""
    found = []
    for word in call.words:
        key, _, value = word.partition("=")
        if word.startswith("-") or key.startswith(("hydra", "+sweeps", "scale")) or word == "..." or value == "...":
            continue
        if key in NAMES or key.endswith((".path", ".run")) or re.search(r"\((?:log|0|1|2|-)|interval|range\(", value):
            continue
        found.append(f"{key}={value.split(',')[0]}" if "-m" in call.words and "{" not in value else word)
    return tuple(sorted(found))


def composed(settings: tuple[str, ...]) -> Config:
    """The config of a command on the pages, or one of them together: a composition takes 0.1 s."""
    mine = _choices(settings)
    fitting = (one for one in _together() if set(settings) <= set(one) and _choices(one) == mine)
    return _composed(next(fitting, settings))


def _choices(settings: Iterable[str]) -> set[str]:
    """Those without a dot: choices of a group, and a few keys."""
    return {word for word in settings if "." not in word.partition("=")[0]}


@cache
def _together() -> list[tuple[str, ...]]:
    """The settings of all commands. Those with the same choices are one, unless they set a key to two values."""
    found: list[dict[str, str]] = []
    for call in filter(None, (call_of(one.text) for one in all_commands() if not one.answer)):
        if call.name not in SCRIPTS.values() or any(word.startswith("--config-dir") for word in call.words):
            continue
        mine = {word.partition("=")[0]: word for word in settings_of(call)}
        for other in found:
            same = _choices(other.values()) == _choices(mine.values())
            if same and all(other.get(key, word) == word for key, word in mine.items()):
                other |= mine
                break
        else:
            found.append(mine)
    return [tuple(sorted(one.values())) for one in found]


@cache
def _composed(settings: tuple[str, ...]) -> Config:
    """Composes with stand-ins for the settings that need one."""
    text = " ".join(settings)
    extra = [f"source={ROOT}/README.md"] if re.search(r"task=(import|select)", text) else []
    extra += ["mixture.path=my.jsonl"] if "mixture=file" in text or "own_data" in text else []
    extra += ["model.path=models/m"] if "model=hf" in text else []
    extra += ["bench.path=my.jsonl", "bench.name=mine"] if "bench=jsonl" in text else []
    given = [re.sub(r"^plugins=\[(?=\w+/\w+\.py)", f"plugins=[{ROOT}/examples/", one) for one in settings]
    return compose(*given, *extra)


def needs(command: Command) -> set[str]:
    """What a machine without a GPU, a key, a network and a cluster lacks for this command. A dry run needs nothing."""
    call = call_of(command.text)
    words = command.text.split()
    if words[0] in ("srun", "sbatch") or ("hydra/launcher=slurm" in words and "dry_run=true" not in words):
        return CLUSTER
    if call is None:
        if words[:2] == ["python", "-m"]:
            return MODULES.get(words[2], set())
        return PROGRAMS.get(words[0], set())
    if call.name not in SCRIPTS.values() or command.answer:
        return set()
    if any(
        word.startswith(("--config-dir", "+sweeps=")) for word in call.words
    ):  # a folder of the reader; tests/config
        return set()
    config = composed(settings_of(call))
    if "dry_run=true" in call.words:
        return set()
    found = set[str]()
    if any(re.match(r"source=[\w-]+/[\w-]+$", word) for word in call.words):  # a data set of the hub
        found |= NETWORK
    if call.name == "generate" and config.task in ("agentwrite", "select") and _has_key(config.teacher):
        found |= KEY
    if (call.name == "evaluate" or (call.name == "generate" and config.task == "pairs")) and _has_key(config.judge):
        found |= KEY
    if call.name == "train" and _is_large(config):
        found |= GPU
    return found


def _has_key(endpoint: object) -> bool:
    return getattr(endpoint, "api_key_env", None) is not None


def _is_large(config: Config) -> bool:
    on_gpu = config.hardware.kind == "gpu" or getattr(config.hardware, "accelerator", "") == "cuda"
    return on_gpu or (config.model.init == "pretrained" and config.model.name in ("glm4", "llama31"))


def page_with_marks(page: Path) -> str:
    """The page with the mark of each block as its commands ask for it."""

    def marked(block: re.Match[str]) -> str:
        indent, language, body = block.group("indent", "language", "body")
        if language not in SHELL:
            return block[0]
        wanted = sorted(set().union(*(needs(one) for one in commands_of(page, body))))
        mark = f"{indent}<!-- needs: {', '.join(wanted)} -->\n" if wanted else ""
        return f"{mark}{indent}```{language}\n{body}{indent}```"

    return BLOCK.sub(marked, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page_with_marks(path), encoding="utf-8")
