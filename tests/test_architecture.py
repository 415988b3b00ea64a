"""The rules of docs/architecture.md (in architecture.py as data), held against the syntax trees of every module."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests import ROOT, architecture
from tests.architecture import (
    ALLOWED,
    ALLOWED_IN_TRAIN,
    BASE,
    FILES,
    PACKAGE,
    ROOMS,
    cycles,
    docstring,
    imports,
    module_graph,
    module_name,
    room,
    train_room,
    tree,
)

# heavy package -> files or folders that may import it
OUTSIDE = {
    "torch": ["pack/dataset.py", "train/", "sample/", "serve/live_decoder.py"],
    "lightning": ["train/"],
    "deepspeed": ["train/"],
    "litellm": ["llm/"],
    "wandb": ["train/metrics/wandb_tracker.py", "report/"],
    "wandb_workspaces": ["report/"],
    "hydra": ["config/"],
    "omegaconf": ["config/"],
    "inspect_ai": ["harness/"],
    "lm_eval": ["harness/"],
}
GRAPH = module_graph(FILES)
FOLDERS = sorted({path.parent for path in FILES})


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_a_module_imports_only_rooms_that_its_own_may_import(module):
    wrong = {other for other in GRAPH[module] if room(other) not in ALLOWED[room(module)] | {room(module)}}
    assert not wrong, f"{module} imports {sorted(wrong)}"


@pytest.mark.parametrize("module", sorted(name for name in GRAPH if room(name) == "train"))
def test_inside_train_data_flows_one_way_too(module):
    mine, allowed = train_room(module), ALLOWED_IN_TRAIN[train_room(module)] | {train_room(module)}
    wrong = {other for other in GRAPH[module] if room(other) == "train" and train_room(other) not in allowed}
    assert not wrong, f"{module}, in {mine or 'train itself'}, imports {sorted(wrong)}"


def test_no_room_is_missing_from_the_rules_and_no_rule_lacks_its_room():
    assert set(ALLOWED) == {room(module) for module in GRAPH}
    assert set(ALLOWED_IN_TRAIN) == {train_room(module) for module in GRAPH if room(module) == "train"}


def test_rooms_form_no_cycle():
    assert cycles(ALLOWED | {"commands": {"recipe"}}) == []
    assert cycles(ALLOWED_IN_TRAIN) == []


def test_modules_form_no_cycle_types_included():
    assert cycles(module_graph(FILES, inside_functions=False)) == []


def test_imports_are_found_in_functions_and_for_types_and_cycles_through_several_modules(tmp_path):
    """Negative control for the tests above: ``one`` imports ``two`` for a type, which gets back to it in two steps."""
    (tmp_path / "one.py").write_text("if TYPE_CHECKING:\n    from two import Type\ndef f():\n    import torch.nn\n")
    (tmp_path / "two.py").write_text("import three.x\n")
    (tmp_path / "three.py").write_text("from one import f\n")
    (tmp_path / "four.py").write_text("def f():\n    from lwexp.score import length\n    import one\n")
    files = sorted(tmp_path.iterdir())

    assert set(imports(tmp_path / "one.py")) == {"two.Type", "torch.nn"}
    assert set(imports(tmp_path / "four.py")) == {"lwexp.score.length", "one"}
    assert module_graph(files, tmp_path)["four"] == {"one"}
    assert cycles(module_graph(files, tmp_path)) == [["one", "three", "two"]]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_heavy_packages_are_imported_only_in_their_places(path):
    place = str(path.relative_to(PACKAGE))
    for package, places in OUTSIDE.items():
        if package in {module.split(".")[0] for module in imports(path)}:
            assert any(place.startswith(allowed) for allowed in places), f"{place} imports {package}"


@pytest.mark.parametrize("name", sorted(BASE | ROOMS | {"recipe": set(), "commands": set()}))
def test_a_room_says_what_it_reads_writes_and_never_touches(name):
    text = docstring(PACKAGE / name).lower()

    for words in (r"reads?", r"writes?", r"never touch(es)?"):
        assert re.search(rf"\b{words}\b", text), f"lwexp/{name}/__init__.py does not say what it {words}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path):
    """At most 300 lines a file, and 50 a function from its name to its end, not counting its docstring."""
    assert len(path.read_text().splitlines()) <= 300
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert lines_of(node) <= 50, f"{path.name}:{node.lineno} {node.name} has {lines_of(node)} lines"


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = lines_from_to(function)
    if ast.get_docstring(function) is not None:
        lines -= lines_from_to(function.body[0])
    return lines


def lines_from_to(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_a_docstring_and_nothing_else_is_left_out_of_a_functions_length():
    """Negative control: 2 lines of signature, 3 of docstring, 2 of code."""
    [function] = ast.parse('def f(\n    x): \n    """A\n\n    b."""\n    y = x\n    return y\n').body

    assert isinstance(function, ast.FunctionDef)
    assert lines_of(function) == 4


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_holds_at_most_16_files_of_code(folder):
    assert sum(path.parent == folder for path in FILES) <= 16


CONFIG_KEYS = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)+")


def key_lists(node: ast.AST, sections: set[str]) -> Iterator[ast.expr]:
    """Tuples, lists, sets and dicts with three or more dotted config keys in them."""
    for part in ast.walk(node):
        if not isinstance(part, ast.expr):
            continue
        items = part.keys if isinstance(part, ast.Dict) else getattr(part, "elts", [])
        texts = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if sum(bool(CONFIG_KEYS.fullmatch(text)) and text.split(".")[0] in sections for text in texts) >= 3:
            yield part


@pytest.mark.parametrize("path", [path for path in FILES if "config" not in path.parts], ids=module_name)
def test_no_list_of_config_keys_is_kept_by_hand(path):
    """What a key affects and which command reads it stands at the key, in lwexp/config."""
    from lwexp.config.schema import Config

    assert [node.lineno for node in key_lists(tree(path), set(Config.model_fields))] == []


def test_a_list_of_config_keys_would_be_found():
    """Negative control for the test above."""
    wrong = ast.parse('KEYS = ("objective.kind", "pack.max_tokens", "seed", "sample.top_p")')
    right = ast.parse('FILES = ("objective.kind", "model.safetensors", "tokenizer.json", "other.key")')

    assert len(list(key_lists(wrong, {"objective", "pack", "seed", "sample"}))) == 1
    assert len(list(key_lists(right, {"objective", "pack"}))) == 0


def test_the_page_shows_the_rooms_as_they_are():
    assert architecture.PAGE.read_text() == architecture.page_with_part(), "run python -m tests.architecture"


@pytest.mark.parametrize("script", ["train.py", "generate_data.py", "evaluate.py"])
def test_an_entry_script_stays_under_sixty_lines(script):
    assert len((ROOT / script).read_text().splitlines()) < 60
