"""Print the part of CHANGELOG.md about one version, for the notes of its release.

python .github/release_notes.py 0.2.0
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


def notes(changelog: str, version: str) -> str:
    """What stands between the heading of this version and the next one.

    Raises:
        SystemExit: If the version has no heading, or nothing stands below it.
    """
    parts = re.split(r"^## (.*)\n", changelog, flags=re.MULTILINE)
    sections = dict(zip((heading.partition(" ")[0] for heading in parts[1::2]), parts[2::2], strict=True))
    if not sections.get(version, "").strip():
        sys.exit(f"CHANGELOG.md has no notes on {version}; write them below the heading '## {version} - <date>'")
    return sections[version].strip()


if __name__ == "__main__":
    print(notes(CHANGELOG.read_text(encoding="utf-8"), sys.argv[1]))
