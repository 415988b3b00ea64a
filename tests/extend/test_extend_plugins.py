"""Plugins by file and by import path, through the real command line; a plugin that fails says so in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def lwexp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", "lwexp", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "error: plugins=mine.py: there is no file mine.py"),
        ("x = 1\nraise OSError('no such disk')\n", "error: plugins=mine.py: line 2: OSError: no such disk"),
        ("def f(:\n", "error: plugins=mine.py: line 1: SyntaxError: invalid syntax"),
        ("import not_there\n", "error: plugins=mine.py: line 1: ModuleNotFoundError: No module named 'not_there'"),
        ("class E(BaseException): ...\nraise E('no')\n", "error: plugins=mine.py: line 2: E: no"),
        ("class E(Exception):\n  def __str__(self): 1 / 0\nraise E\n", "error: plugins=mine.py: line 3: E: no message"),
        ("x = 1\0\n", "error: plugins=mine.py: SyntaxError: source code "),
        ("raise SystemExit(3)\n", "error: plugins=mine.py: line 1: SystemExit: 3"),
        (
            "from lwexp.records import Row\nclass Taste: ...\nclass Mine(Row):\n    taste: Taste\n",
            "error: plugins=mine.py: line 3: PydanticSchemaGenerationError: Unable to generate pydantic-core schema",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_line(tmp_path, code, message):
    if code is not None:
        (tmp_path / "mine.py").write_text(code)

    done = lwexp(tmp_path, "train", "plugins=[mine.py]", "--cfg", "job")

    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_an_import_path_is_looked_for_in_the_folder_of_the_command(tmp_path):
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "hello.py").write_text("print('loaded')\n")

    assert "loaded" in lwexp(tmp_path, "train", "plugins=[my_lab.hello]", "--cfg", "job").stdout
    missing = lwexp(tmp_path, "train", "plugins=[my_lab.bye]", "--cfg", "job")
    assert missing.stderr.startswith(
        "error: plugins=my_lab.bye: there is no module my_lab.bye, neither installed nor in"
    )


def test_a_plugins_config_folder_adds_its_choices(tmp_path):
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "conf" / "objective" / "gentle.yaml").write_text(
        "# A smaller learning rate than usual.\ndefaults: [sft]\noptimizer:\n  lr: 3.0e-7\n"
    )

    composed = lwexp(tmp_path, "train", "plugins=[mine.py]", "objective=gentle", "--cfg", "job")
    helped = lwexp(tmp_path, "train", "plugins=[mine.py]", "--help")
    without = lwexp(tmp_path, "train", "objective=gentle", "--cfg", "job")

    assert "lr: 3.0e-07" in composed.stdout
    assert "gentle               A smaller learning rate than usual." in helped.stdout
    assert without.stderr.startswith("error: objective=gentle: no such choice")


def test_compose_loads_plugins_and_tells_mistakes_in_one_line(tmp_path, monkeypatch):
    from lwexp.config import compose
    from lwexp.records import LwexpError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "counted.py").write_text("import os\nos.environ['LWEXP_TEST_COUNTED'] = 'yes'\n")
    monkeypatch.delenv("LWEXP_TEST_COUNTED", raising=False)

    config = compose("plugins=[counted.py]", "seed=3")

    assert (os.environ.pop("LWEXP_TEST_COUNTED"), config.seed) == ("yes", 3)
    assert config.plugins == (str(tmp_path / "counted.py"),), "a run is read from any folder later"
    with pytest.raises(LwexpError, match="modle: no such key; did you mean model"):
        compose("modle=glm4")


def test_an_own_config_folder_in_python(tmp_path):
    from lwexp.config import compose

    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "gentle.yaml").write_text("defaults: [sft]\noptimizer:\n  lr: 3.0e-7\n")

    assert compose("objective=gentle", config_dir=tmp_path).objective.optimizer.lr == 3e-7


def test_a_section_that_was_used_before_the_plugin_knows_its_classes_afterwards(tmp_path):
    """In a process of its own, because a registered class stays."""
    script = (
        "from lwexp.config import compose\n"
        "from lwexp.config.model import ModelConfig\n"
        "try:\n    ModelConfig.model_validate({'family': 'glm'})\nexcept ValueError:\n    pass  # built all the same\n"
        f"plugin = 'plugins=[{REPOSITORY / 'examples' / 'qwen3' / 'qwen3.py'}]'\n"
        "print(compose(plugin, 'model=tiny_qwen3').model.family.kind)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert (done.stdout, done.returncode) == ("qwen3\n", 0), done.stderr
