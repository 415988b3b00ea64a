"""The commands ``lwexp generate|train|evaluate|runs|watch|rerun|sweep|report|export|convert|serve|chat``.

Scripts of the repository run the first three. Reads the command line and passes it on. Writes nothing itself, and
never touches torch or a provider before a config has been validated.
"""

import gc
import importlib
import sys
from typing import NoReturn

# Python collects garbage every 700 new objects; a short command makes millions of objects and hardly any garbage.
# Scoring 120 given answers took 3.5 s without this line and 2.9 s with it. It comes before the imports, which would
# collect garbage 70 times.
gc.set_threshold(20_000, 20, 20)

from lwexp.records import LwexpError, exit_code  # noqa: E402

COMMANDS = {
    "generate": "lwexp.commands.generate",
    "train": "lwexp.commands.train",
    "evaluate": "lwexp.commands.evaluate",
    "runs": "lwexp.commands.runs",
    "watch": "lwexp.watch.__main__",
    "rerun": "lwexp.commands.rerun",
    "sweep": "lwexp.commands.sweep",
    "report": "lwexp.report.__main__",
    "export": "lwexp.export",
    "convert": "lwexp.convert",
    "serve": "lwexp.serve.server",
    "chat": "lwexp.serve.chat",
}

_HELP = """lwexp: the LongWriter recipe as one tool.

lwexp generate   instructions -> drafts, imported files, preference pairs (python generate_data.py in a clone)
lwexp train      a mixture -> a model: SFT or DPO (python train.py)
lwexp evaluate   a model -> answers, scores, tables and a report (python evaluate.py)
lwexp runs       lists the runs in a folder: state, scores, cost, parents
lwexp watch      shows runs on a live page while they work
lwexp rerun      repeats or resumes a run from its folder, or runs it with other settings
lwexp sweep      a sweep's jobs on SLURM: status, wait, cancel
lwexp report     compares any runs on one page
lwexp export     a training run -> an ordinary Hugging Face folder
lwexp convert    a GGUF file -> an ordinary Hugging Face folder
lwexp serve      serves a model folder through an OpenAI-compatible API, to try it out
lwexp chat       talks to a model in the terminal and counts its words

Each has a --help. Start with: lwexp generate experiment=smoke
"""


def main() -> NoReturn:
    """Entry point of the ``lwexp`` command and of ``python -m lwexp``."""
    sys.exit(exit_code(_run, again="run the same command again"))


def _run() -> int | None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        print(_HELP, end="")
        return 0
    if name == "--version":
        from lwexp import __version__

        print(f"lwexp {__version__}")
        return 0
    if name in ("-sc", "--shell-completion"):
        from lwexp.commands.completion import answer_shell

        answer_shell(sys.argv[2:], programs="lwexp", commands=tuple(COMMANDS))
        return 0
    if name not in COMMANDS:
        raise LwexpError(f"lwexp {name}: no such command; there are {', '.join(COMMANDS)}")
    # Hydra and argparse name the program in their messages.
    sys.argv = [f"{sys.argv[0]} {name}", *sys.argv[2:]]
    code: int | None = importlib.import_module(COMMANDS[name]).main(sys.argv[1:])
    return code
