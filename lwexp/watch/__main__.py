"""Shows the runs in a folder on a page that follows them while they work.

    lwexp watch                        all runs below runs/
    lwexp watch runs/demo              all runs below another folder
    lwexp watch sft-glm4-1a2b3c4d      one run, by its folder, id or name; the others are one click away
    lwexp watch port=8042

root=   where runs live (runs)
run=    the run that the page opens with: its folder, id or name (the newest of that name)
port=   on 127.0.0.1 (a free one)

The first line printed is the page's address; Ctrl-C ends it. It only reads, so it may be started, stopped and opened
twice while a run works. Over ssh: ssh -L 8042:127.0.0.1:8042 <machine>, then open http://127.0.0.1:8042 on your own
machine (docs/watch.md).
"""

import sys
from pathlib import Path

from lwexp.records import LwexpError
from lwexp.runs.artifacts import TRIALS, Manifest
from lwexp.runs.command_line import run_command
from lwexp.text.plain import plural
from lwexp.watch.index import Index
from lwexp.watch.server import Watch, open_server

_EXAMPLES = {"root": "runs", "run": "sft-glm4-1a2b3c4d", "port": "8042"}
_LAST_PORT = 65535


def main(arguments: list[str]) -> int:
    """Serve the page until Ctrl-C or a stop signal. Returns the exit code."""
    return run_command("watch", [_named(word) for word in arguments] or ["root=runs"], __doc__ or "", _EXAMPLES, _watch)


def _named(word: str) -> str:
    """A bare word as the option that it means: a folder that is no run is a root, anything else names a run."""
    if word.startswith("-") or "=" in word:
        return word
    path = Path(word)
    return f"run={word}" if _is_run(path) or not path.is_dir() else f"root={word}"


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in (Manifest.FILE, TRIALS))


def _watch(options: dict[str, str]) -> None:
    port = options.get("port", "0")
    if not port.isdecimal() or int(port) > _LAST_PORT:
        raise LwexpError(f"watch: port={port}: wanted a whole number up to {_LAST_PORT}, such as port=8042")
    wanted = options.get("run", "")
    folder = Path(wanted)
    is_folder = bool(wanted) and _is_run(folder)
    root = Path(options.get("root") or (folder.resolve().parent if is_folder else "runs"))
    if not root.is_dir():
        raise LwexpError(f"watch: there is no folder {root}; set root=<folder>")
    index = Index(root)
    place = f"#{_key(index, folder.resolve().name if is_folder else wanted)}" if wanted else ""
    with open_server(Watch(index), int(port)) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/{place}", flush=True)
        print(f"watching {plural(len(index.rows()), 'run')} under {root}; Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("no longer watching; the runs go on", file=sys.stderr)
            raise


def _key(index: Index, wanted: str) -> str:
    """The key of the newest run with this id, name or key.

    Raises:
        LwexpError: If there is none, naming the newest ones.
    """
    rows = index.rows()
    found = [row.key for row in rows if wanted in (row.key, row.id, row.name)]
    if not found:
        there = ", ".join(row.id for row in rows[:8])
        named = f"the newest are {there}" if there else "there is no run yet"
        raise LwexpError(f"watch: run={wanted}: no run is called {wanted} under {index.root}; {named}")
    return found[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
