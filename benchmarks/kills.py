"""Kills real commands with ``kill -9`` at random moments: what is lost, what is repeated, whether the output differs.

python -m benchmarks.kills generate|train|evaluate|export|report|sweep [--quick]
"""

from __future__ import annotations

import importlib
import sys

STAGES = ("generate", "train", "evaluate", "export", "report", "sweep")
_OUTPUTS = ("export", "report", "sweep")


def main() -> None:
    """Run the stage that the command line names."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if len(words) != 1 or words[0] not in STAGES:
        sys.exit(f"usage: python -m benchmarks.kills {'|'.join(STAGES)} [--quick]")
    if words[0] in _OUTPUTS:
        importlib.import_module("benchmarks.kills_outputs").main(words[0])
    else:
        importlib.import_module(f"benchmarks.kills_{words[0]}").main()


if __name__ == "__main__":
    main()
