"""``kill -9`` at random moments of real commands: what is lost, what is done twice, whether the output differs.

python -m benchmarks.kills generate|train|evaluate [--quick]
"""

from __future__ import annotations

import importlib
import sys

STAGES = ("generate", "train", "evaluate")


def main() -> None:
    """Run the stage named on the command line; each lives in a file of its own."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if len(words) != 1 or words[0] not in STAGES:
        sys.exit(f"usage: python -m benchmarks.kills {'|'.join(STAGES)} [--quick]")
    importlib.import_module(f"benchmarks.kills_{words[0]}").main()


if __name__ == "__main__":
    main()
