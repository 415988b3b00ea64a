"""The GPU kit's parts that need no package index."""

import re
import subprocess
import tarfile

import pytest

from benchmarks.gpu import kit
from tests import ROOT
from tests.benchmarks.box import BOX_PACKAGES, canonical


@pytest.fixture
def fake_pip(monkeypatch):
    """Stands in for pip: writes a wheel of ``size`` bytes for each pin, and records its command lines."""
    lines = []

    def pip(command, *words, size=1000):
        lines.append((command, *words))
        folder = next(words[i + 1] for i, word in enumerate(words) if word in ("--dest", "--wheel-dir"))
        for word in words:
            if "==" in word:
                with open(f"{folder}/{word.replace('==', '-')}-py3-none-any.whl", "wb") as wheel:
                    wheel.truncate(size)

    monkeypatch.setattr(kit, "_pip", pip)
    return lines, pip


def test_a_kit_holds_a_wheel_for_each_pin_the_repository_and_the_script(fake_pip, tmp_path):
    lines, _ = fake_pip
    kit.build_kit(tmp_path / "kit", "3.12")

    assert sorted(file.name for file in (tmp_path / "kit").iterdir()) == ["repository.tar.gz", "run.sh", "wheels"]
    assert len(list((tmp_path / "kit" / "wheels").iterdir())) == len(kit.read_pins())
    (download, *wanted), (wheel, *_) = lines
    assert (download, wheel) == ("download", "wheel")
    assert wanted[wanted.index("--python-version") + 1] == "3.12"
    assert "manylinux2014_x86_64" in wanted
    with tarfile.open(tmp_path / "kit" / "repository.tar.gz") as files:
        names = files.getnames()
        entry = files.extractfile("COMMIT")
        assert entry is not None
        commit = entry.read().decode()
    assert {"lwexp/__main__.py", "benchmarks/gpu/__main__.py", "hydra_plugins/lwexp", "pyproject.toml"} <= set(names)
    assert re.match(r"[0-9a-f]{7,}", commit)


def test_a_kit_that_is_too_large_or_lacks_a_wheel_is_refused(fake_pip, tmp_path, monkeypatch):
    _, pip = fake_pip
    monkeypatch.setattr(kit, "_pip", lambda *words: pip(*words, size=4_000_000))
    with pytest.raises(SystemExit, match=r"has 7\d\.\d MB, more than 60"):
        kit.build_kit(tmp_path / "kit", "3.12")

    monkeypatch.setattr(kit, "_pip", lambda command, *words: pip(command, *words) if command == "download" else None)
    with pytest.raises(SystemExit, match=r"18 wheels were asked for, 16 are in"):
        kit.build_kit(tmp_path / "kit", "3.12")


def test_a_release_that_the_index_lacks_is_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(kit, "read_pins", lambda: {"no-such-thing": "no-such-thing==1"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SystemExit, match=r"pip download failed: .*no-such-thing==1"):
        kit.build_kit(tmp_path / "kit", "3.12")


def test_every_version_is_that_of_the_lock_file():
    locked = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    locked = {canonical(name): version for name, version in locked.items()}
    pins = {canonical(name): pin.split("==")[1] for name, pin in kit.read_pins().items()}
    assert {name: locked.get(name) for name in pins if name in locked} == {
        name: version for name, version in pins.items() if name in locked
    }
    assert set(pins) - set(locked) <= {"liger-kernel"}  # of the extra "gpu", which the lock file does not install


def test_what_the_box_has_already_travels_only_for_its_version():
    newer = {"transformers", "tokenizers", "regex", "typing-extensions"}
    assert {canonical(name) for name in kit.read_pins()} & BOX_PACKAGES == newer


def test_the_script_is_valid_and_installs_from_the_kit_alone():
    script = ROOT / "benchmarks" / "gpu" / "run.sh"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text()
    assert "--no-index --no-deps" in text
    assert "--deadline 380" in text
