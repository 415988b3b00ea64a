"""The modules of the GPU benchmark on a CPU: the same code as on a GPU, except for what needs a GPU."""

import gc
import json
import sys

import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.gpu import attention, command, kernels, machine, train_step, zero
from benchmarks.gpu.cases import STAGES, Case, find_cases, run_case
from benchmarks.gpu.models import checkpoint_activations, make_model, model_config
from benchmarks.gpu.place import Place, find_place, relative_error, within
from lwexp.config import compose
from lwexp.train.model.dimensions import model_sizes
from tests import forked

STAGE = {stage.name: stage for stage in STAGES}


@pytest.fixture
def place():
    threads = torch.get_num_threads()
    yield find_place(quick=True)
    torch.set_num_threads(threads)


def test_parity_holds_on_a_cpu(place):
    checked = {case.name: run_case(case, place) for case in find_cases(STAGE["parity"], place, {})}
    assert {"attention/parity_glm/per_document", "logprobs/parity/ours", "logprobs/parity/trl",
            "kernels/glm4_float32/eager", "kernels/llama31_float32/eager"} <= checked.keys()  # fmt: skip
    assert all(numbers["parity_ok"] == 1.0 for numbers in checked.values())


def test_deepspeed_is_driven_on_a_cpu_and_each_case_has_its_line():
    """In processes of its own, as in use: DeepSpeed looks once for its accelerator."""
    done = forked.run([sys.executable, "-m", "benchmarks.gpu", "--quick", "zero"], also_its_own=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *cases, last = map(json.loads, done.stdout.splitlines())

    assert first["notes"] == ["CPU self-check, says nothing of a GPU"]
    by_name = {line["case"]: line for line in cases}
    assert list(by_name) == ["zero/one_process", "zero/train", "zero/resume", "zero/export"]
    assert all(line.get("parity_ok", 1.0) == 1.0 for line in cases)
    assert by_name["zero/resume"]["is_bit_equal"]
    assert last["failed"] == last["parity_missed"] == last["not_reached"] == []


def test_lwexp_train_is_driven_to_its_export(place, monkeypatch):
    monkeypatch.setattr(sys, "executable", forked.python())
    numbers = command.train(place, [])
    assert (numbers["steps"], numbers["missing"], numbers["unexpected"], numbers["parity_ok"]) == (3, 0, 0, 1.0)

    with pytest.raises(RuntimeError, match=r"exit code 2: .*model\.no_such_key"):
        command.train(place, ["+model.no_such_key=1"])


def test_a_rival_has_our_loss_on_our_weights_and_another_loss_misses_parity(place):
    ours = {"train/glm4/ours": train_step.measure(place, "glm4", {})}
    cases = {case.name: case for case in train_step.cases(place, ours)}
    theirs = cases["train/glm4/rival_transformers"].run()
    assert theirs["parity_ok"] == cases["train/glm4/rival_trl"].run()["parity_ok"] == 1.0

    other = {"loss": theirs["loss"] * 1.001, "tokens_per_second": 2.0}
    compared = train_step.compare(
        {"ours": other}, "ours", place, lambda: {"loss": theirs["loss"], "tokens_per_second": 4.0}
    )
    assert (compared["parity_ok"], compared["ours_over_it"]) == (0.0, 0.5)


def test_a_rival_that_needs_too_much_memory_is_no_failure(place):
    def run():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert train_step.compare({}, "ours", place, run) == {"does_not_fit": True}


def models_alive():
    return sum(issubclass(type(found), PreTrainedModel) for found in gc.get_objects())


def test_a_case_does_not_measure_the_models_of_earlier_cases(place):
    """A model in a reference cycle, as hooks and closures make them, outlives its last name."""

    def leave_a_model():
        model = make_model(place, model_config(place, "glm4", {}))
        model.cycle = [model]
        return {}

    gc.collect()
    before = models_alive()
    gc.disable()
    try:
        run_case(Case("ours", "first", leave_a_model), place)
        assert models_alive() > before  # the control
        counted = run_case(Case("ours", "second", lambda: {"alive": models_alive()}), place)
    finally:
        gc.enable()
    assert counted["alive"] == before


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_the_gpu_form_of_the_command_is_a_config_of_today(adapter):
    """Composed only: it needs a GPU."""
    words = [word for word in (*command.FULL, *command.COMMON) if not word.startswith("~")]
    config = compose(*words, f"model.adapter={adapter}")
    sizes = model_sizes(config.model)
    assert (sizes.hidden_size, sizes.num_hidden_layers, sizes.vocab_size) == (4096, 2, 16_384)
    assert config.hardware.kind == "gpu"
    assert config.objective.max_steps == 3


def test_parity_comes_first_and_the_choice_of_auto_is_not_measured_twice(place):
    names = {name: [case.name for case in find_cases(stage, place, {})] for name, stage in STAGE.items()}
    assert names["ours"][:2] == ["train/glm4/ours", "train/llama31/ours"]
    assert all("parity" in name or name.startswith("kernels/") for name in names["parity"])
    assert not set(names["ours"]) & set(names["rivals"])
    assert not any(name.endswith("per_document") for name in names["rivals"])  # which is what auto takes on a CPU
    assert sum(len(found) for found in names.values()) == len(set().union(*names.values()))


def test_on_a_gpu_every_path_and_kernel_is_tried_and_cudnn_is_spared_many_short_documents(monkeypatch):
    """The list alone, as a GPU with all paths and Triton would get it; nothing of it runs here."""
    gpu = Place(torch.device("cuda"), torch.bfloat16, quick=False, name="NVIDIA H200")
    for module in (attention, train_step):
        monkeypatch.setattr(module, "is_available", lambda name, place: name != "flash")
        monkeypatch.setattr(module, "best_path", lambda *_: "varlen")
    for module in (kernels, train_step):
        monkeypatch.setattr(module, "kernels_problem", lambda *_: None)
    names = {name: {case.name for case in find_cases(stage, gpu, {})} for name, stage in STAGE.items()}

    paths = {f"attention/parity_{family}/{path}" for family in ("glm", "llama")
             for path in ("per_document", "varlen", "cudnn", "hybrid")}  # fmt: skip
    choices = {f"kernels/{family}_{number}/{kernel}" for family in ("glm4", "llama31")
               for number in ("float32", "bfloat16") for kernel in ("eager", "compile", "liger")}  # fmt: skip
    assert paths | choices | {"logprobs/parity/ours"} <= names["parity"]
    assert "attention/few_long_glm/cudnn" in names["rivals"]
    assert not any("many_short" in name and name.endswith("cudnn") for name in names["rivals"])
    assert {name for name in names["rivals"] if name.startswith("train/glm4/ours")} == {
        f"train/glm4/ours_{choice}" for choice in ("liger", "compile", "cudnn", "hybrid")
    }


@pytest.mark.parametrize(("known", "is_noted"), [({"scale"}, True), ({"scale", "enable_gqa"}, False), (set(), False)])
def test_a_torch_whose_varlen_repeats_keys_is_noted(place, monkeypatch, known, is_noted):
    monkeypatch.setattr(machine, "varlen_parameters", lambda: frozenset(known))
    monkeypatch.setattr(machine, "has_varlen", lambda: bool(known))
    notes = machine.describe_machine(place)["notes"]
    assert any("torch before 2.12" in note for note in notes) == is_noted


def test_update_error_is_relative_to_what_was_trained():
    """Moves (3, 0) and (3, 4): the difference is 4, the wanted move 5."""
    start = {"w": torch.tensor([1.0, 1.0])}
    got, wanted = {"w": torch.tensor([4.0, 1.0])}, {"w": torch.tensor([4.0, 5.0])}
    assert zero.update_error(got, wanted, start) == pytest.approx(0.8)
    assert zero.update_error(start, wanted, start) == 1.0  # nothing was trained
    assert zero.update_error(start, start, start) == float("inf")  # and nothing could be compared


def test_nan_misses_parity():
    error = relative_error([torch.tensor([1.0, float("nan")])], [torch.tensor([1.0, 2.0])])
    assert within(error, 1e-2)["parity_ok"] == 0.0
    assert within(relative_error([torch.tensor([1.0])], [torch.tensor([1.0])]), 1e-2)["parity_ok"] == 1.0


def test_activation_checkpointing_works_under_the_older_name_too():
    class Older:
        def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs):
            self.given = gradient_checkpointing_kwargs

    class Newer:
        def activation_checkpointing_enable(self, activation_checkpointing_kwargs):
            self.given = activation_checkpointing_kwargs

    for model in (Older(), Newer()):
        checkpoint_activations(model)
        assert model.given == {"use_reentrant": False}
