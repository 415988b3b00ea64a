"""The wheel alone, in its own environment and an empty folder, without access to the repository.

The environment borrows the test environment's other packages through a .pth file (which does not reach lwexp's editable
install), so that nothing is downloaded.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # From a copy of what git tracks, because setuptools writes build/ beside the sources.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("lwexp-*.whl")
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (folder / "env" / "bin" / "lwexp").write_text(
        f"#!{folder / 'env' / 'bin' / 'python'}\nfrom lwexp.commands import main\nmain()\n"
    )
    (folder / "env" / "bin" / "lwexp").chmod(0o755)
    return folder / "env" / "bin"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(installed / "lwexp"), *arguments],
        cwd=folder, env={**environment, "OMP_NUM_THREADS": "1"},
        timeout=560, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_generate_and_train_from_an_empty_folder(installed, tmp_path):
    where = subprocess.run(
        [str(installed / "python"), "-c", "import lwexp; print(lwexp.__file__)"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert str(REPOSITORY) not in where

    generated = run(installed, tmp_path, "generate", "experiment=smoke")
    assert generated.returncode == 0, generated.stderr
    trained = run(installed, tmp_path, "train", "experiment=smoke")

    assert trained.returncode == 0, trained.stderr
    assert list(tmp_path.glob("runs/**/model/model.safetensors"))
    assert not list(tmp_path.glob("*.yaml"))


def test_an_own_config_folder_works_from_an_empty_folder(installed, tmp_path):
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "objective" / "gentle.yaml").write_text("defaults: [sft]\noptimizer:\n  lr: 3.0e-7\n")

    done = run(installed, tmp_path, "train", "--config-dir", "mine", "objective=gentle", "--cfg", "job")

    assert done.returncode == 0, done.stderr
    assert "lr: 3.0e-07" in done.stdout


def test_the_command_says_what_there_is(installed, tmp_path):
    assert "lwexp generate" in run(installed, tmp_path).stdout
    wrong = run(installed, tmp_path, "trian")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: lwexp trian: no such command; "
        "there are generate, train, evaluate, runs, watch, rerun, sweep, report, export, convert, serve, chat\n",
    )  # fmt: skip
    assert "miniature" in run(installed, tmp_path, "train", "--help").stdout
    for command in ("report", "export"):
        assert run(installed, tmp_path, command, "--help").returncode == 0
    assert run(installed, tmp_path, "serve", "port=0").stderr.startswith("error: serve: wanted run=")
