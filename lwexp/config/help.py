"""``--help`` of an entry script: what it does, commands to copy, each group with its choices, its keys."""

from lwexp.config.fields import is_section
from lwexp.config.folders import CONF, choices_of, first_comment, readers_of
from lwexp.config.schema import EVERY, Config
from lwexp.extend.settings import key_of


def print_help(command: str, doc: str) -> None:
    """Print the help of a command to standard output."""
    print(doc.strip())
    print("\nGroups (choose a file: group=choice)")
    for group in [*groups_of(command), "experiment"]:
        print(f"  {group}")
        for path in choices_of(group):
            print(f"    {path.stem:<20} {first_comment(path)}")
    if command == "train":
        print("  sweeps (with -m: python train.py -m +sweeps=... ; scale=miniature for two CPU cores)")
        for path in choices_of("sweeps"):
            print(f"    {path.stem:<20} {first_comment(path)}")
    print("\nKeys (set a value: key=value; all of them: --cfg job)")
    fields = {key: field for key, field in Config.model_fields.items() if command in key_of(field).read_by}
    own = [key for key, field in fields.items() if key_of(field).read_by != EVERY]
    for key in [*own, *(key for key in fields if key not in own)]:
        if not is_section(fields[key]):
            print(f"  {key:<18} {' '.join((fields[key].description or '').split())}")
    print("\nA run lives in runs/<name>-<id>; the same command again resumes it, or says that it is finished.")


def groups_of(command: str) -> list[str]:
    """Groups of files whose choices a command reads."""
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("experiment", "sweeps"))
    return [group for group in groups if command in readers_of(group)]
