"""Kills real commands with ``kill -9`` at random moments: what is lost, what is repeated, whether the output differs.

python -m benchmarks.kills generate|train|evaluate [--quick]
"""

from __future__ import annotations

import importlib
import sys

STAGES = ("generate", "train", "evaluate")


def main() -> None:
    """Run the stage that the command line names; each stage has its own file."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if len(words) != 1 or words[0] not in STAGES:
        sys.exit(f"usage: python -m benchmarks.kills {'|'.join(STAGES)} [--quick]")
    importlib.import_module(f"benchmarks.kills_{words[0]}").main()


if __name__ == "__main__":
    main()
