"""Schema of the training side: model, objective, hardware, tracking."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lwexp.config.model import Lora as Lora
from lwexp.config.model import ModelConfig as ModelConfig
from lwexp.config.model import Shape as Shape
from lwexp.extend import Key, Strict
from lwexp.extend import Objective as Objective
from lwexp.extend import Optimizer as Optimizer


class CPU(Strict):
    """Plain Lightning on the CPU."""

    kind: Literal["cpu"]
    threads: Annotated[int | None, Key("speed")] = Field(None, ge=1)
    """torch threads; null takes all cores this process may use."""
    attention: Literal["auto", "per_document"] = "auto"
    """One attention call per document; the other paths need a CUDA device."""
    kernels: Literal["eager", "compile"] = "eager"
    """RMSNorm and SwiGLU: transformers' own, or fused by torch.compile."""
    precision: Annotated[Literal["bf16-true", "32-true"], Key(neutral="32-true")] = "32-true"
    """bf16-true halves weights and activations; the optimiser keeps float32 copies of the trained weights. It is slow
    on processors without bf16 instructions."""

    device: ClassVar[Literal["cpu", "cuda"]] = "cpu"
    """Where tensors are, as torch calls it."""
    devices: ClassVar[int] = 1
    """Ranks on each node."""
    ranks: ClassVar[int] = 1
    """Processes over all nodes."""
    activation_checkpointing: ClassVar[bool] = False
    activation_offload: ClassVar[bool] = False
    moments: ClassVar[Literal["float32", "bf16"]] = "float32"
    peak_tflops: ClassVar[float | None] = None
    mfu: ClassVar[float] = 1.0

    @property
    def number_bytes(self) -> int:
        """Bytes per value of weights and activations."""
        return 2 if self.precision == "bf16-true" else 4


Attention = Literal["auto", "per_document", "varlen", "cudnn", "flash", "hybrid"]
"""How documents of a pack attend to themselves: one SDPA call a document (torch's choice of kernel, or cuDNN's), one
varlen call (torch's, or the flash_attn package's), or hybrid: long documents by SDPA, the rest in one varlen call.
auto is flash where it is installed, else varlen; per_document in float32."""

LayerKernels = Literal["eager", "compile", "liger"]
"""RMSNorm and SwiGLU of each layer: transformers' own, fused by torch.compile, or Liger's Triton kernels."""


class GPU(Strict):
    """One CUDA device, everything resident."""

    kind: Literal["gpu"]
    precision: Literal["bf16-true", "32-true"] = "bf16-true"
    """bf16-true keeps weights and activations in bf16 and the optimiser's copy in float32; 32-true keeps all in
    float32."""
    attention: Attention = "auto"
    """How documents of a pack attend to themselves (docs/training_core.md); auto selects what is installed."""
    kernels: LayerKernels = "eager"
    """RMSNorm and SwiGLU of each layer: transformers' own, fused by torch.compile, or Liger's."""
    activation_checkpointing: Annotated[bool, Key("speed")] = True
    """Keep only each layer's input and run the layer again in the backward pass."""
    activation_offload: bool = False
    """Keep those inputs in pinned host memory; the copies are not overlapped with work."""
    moments: Annotated[Literal["float32", "bf16"], Key(neutral="float32")] = "float32"
    """Number format in which AdamW keeps its two moments when the weights are bf16. bf16 saves 4 bytes per trained
    parameter; the moments are then rounded at random, up or down, so that their averages stay right."""

    device_gib: Annotated[float | None, Key("speed")] = Field(None, gt=0)
    """Memory of the device, for the planner; null asks the device."""
    host_gib: Annotated[float | None, Key("speed")] = Field(None, gt=0)
    """Memory of the host, for the planner; null asks this machine."""
    peak_tflops: Annotated[float | None, Key("speed")] = Field(None, gt=0)
    """Peak of the device in bf16, dense, for the planner's hours; null estimates none."""
    mfu: Annotated[float, Key("speed")] = Field(gt=0, le=1)
    """Share of that peak which model FLOPs are expected to reach (docs/planner.md); it changes no result."""

    device: ClassVar[Literal["cpu", "cuda"]] = "cuda"
    devices: ClassVar[int] = 1
    ranks: ClassVar[int] = 1
    threads: ClassVar[int | None] = None

    @property
    def number_bytes(self) -> int:
        """Bytes per value of weights and activations."""
        return 2 if self.precision == "bf16-true" else 4

    @model_validator(mode="after")
    def choices_fit_together(self) -> GPU:
        """No CUDA kernels or bf16 moments in float32, and nothing to offload without checkpointing."""
        _kernels_fit(self)
        if self.moments == "bf16" and self.precision == "32-true":
            raise ValueError(
                "hardware.moments: got bf16, but the weights are float32 (hardware.precision=32-true); set "
                "hardware.moments=float32, or hardware.precision=bf16-true"
            )
        return self


class Zero(Strict):
    """DeepSpeed ZeRO over several processes, through Lightning's DeepSpeedStrategy."""

    kind: Literal["zero"]
    stage: Annotated[Literal[2, 3], Key("speed")]
    """3 shards weights, gradients and optimiser over the ranks; 2 keeps the weights whole on each."""
    accelerator: Literal["gpu", "cpu"] = "gpu"
    """cpu trains in gloo processes through the same strategy: the real path without a GPU."""
    devices: Annotated[int, Key("speed")] = Field(ge=1)
    """Ranks on each node. Where torchrun or SLURM has started the ranks, their count is used instead."""
    num_nodes: Annotated[int, Key("speed")] = Field(1, ge=1)
    """Nodes with that many ranks each."""
    precision: Literal["bf16-true", "32-true"] = "bf16-true"
    """bf16-true keeps weights and activations in bf16 and the optimiser's copy in float32; 32-true keeps all in
    float32."""
    attention: Attention = "auto"
    """How documents of a pack attend to themselves (docs/training_core.md); auto selects what is installed."""
    kernels: LayerKernels = "eager"
    """RMSNorm and SwiGLU of each layer: transformers' own, fused by torch.compile, or Liger's."""
    activation_checkpointing: Annotated[bool, Key("speed")] = True
    """Keep only each layer's input and run the layer again in the backward pass."""
    activation_offload: bool = False
    """Keep those inputs in pinned host memory; the copies are not overlapped with work."""
    offload_optimizer: Annotated[float, Key("speed")] = Field(0.0, ge=0, le=1)
    """1 keeps the optimiser's states in host memory, 0 on the devices. Shares between are refused (decision 028)."""
    offload_parameters: Annotated[bool, Key("speed")] = False
    """Keep the weights in host memory and copy each layer to the device when it runs."""
    pin_memory: Annotated[bool, Key("speed")] = True
    """Page-locked host memory for what is offloaded: faster copies, but torch rounds it up to powers of two."""
    timeout_minutes: Annotated[int, Key("speed")] = Field(60, ge=1)
    """How long a rank waits for the others in a collective before it gives up."""
    threads: Annotated[int | None, Key("speed")] = Field(None, ge=1)
    """torch threads of each rank on the CPU; null divides the cores among the ranks."""
    device_gib: Annotated[float | None, Key("speed")] = Field(None, gt=0)
    """Memory of one device, for the planner; null asks the device."""
    host_gib: Annotated[float | None, Key("speed")] = Field(None, gt=0)
    """Memory of a node's host, for the planner; null asks this machine."""
    peak_tflops: Annotated[float | None, Key("speed")] = Field(None, gt=0)
    """Peak of one device in bf16, dense, for the planner's hours; null estimates none."""
    mfu: Annotated[float, Key("speed")] = Field(gt=0, le=1)
    """Share of that peak which model FLOPs are expected to reach (docs/planner.md); it changes no result."""

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where tensors are, as torch calls it."""
        return "cuda" if self.accelerator == "gpu" else "cpu"

    @property
    def ranks(self) -> int:
        """Processes over all nodes."""
        return self.devices * self.num_nodes

    @property
    def number_bytes(self) -> int:
        """Bytes per value of weights and activations."""
        return 2 if self.precision == "bf16-true" else 4

    @model_validator(mode="after")
    def offloading_fits_the_stage(self) -> Zero:
        """Refuse what DeepSpeed cannot do here, before the model is loaded."""
        if 0 < self.offload_optimizer < 1:
            raise ValueError(
                f"hardware.offload_optimizer: got {self.offload_optimizer:g}; with a part of the optimiser on the host "
                "(DeepSpeed's Twin-Flow) the rest would neither follow the learning-rate schedule nor be saved; set it "
                "to 0 or 1, or on one GPU hardware=gpu1_141g"
            )
        if self.stage == 2 and self.offload_parameters:
            raise ValueError(
                "hardware.stage: ZeRO-2 keeps whole weights on each device; set hardware.stage=3, or "
                "hardware.offload_parameters=false"
            )
        if self.accelerator == "cpu" and (self.offload_parameters or self.offload_optimizer):
            raise ValueError(
                "hardware.accelerator: on the CPU there is nothing to offload to; set hardware.offload_optimizer=0 "
                "hardware.offload_parameters=false"
            )
        return self

    @model_validator(mode="after")
    def choices_fit_together(self) -> Zero:
        """No CUDA kernels on the CPU or in float32, and nothing to offload without checkpointing."""
        _kernels_fit(self)
        return self


def _kernels_fit(hardware: GPU | Zero) -> None:
    device = hardware.device
    if hardware.attention not in ("auto", "per_document") and (device == "cpu" or hardware.precision == "32-true"):
        raise ValueError(
            f"hardware.attention: got {hardware.attention}, which has kernels for bf16 on CUDA only; "
            f"set hardware.attention=per_document" + (", or hardware.precision=bf16-true" if device == "cuda" else "")
        )
    if hardware.kernels == "liger" and device == "cpu":
        raise ValueError("hardware.kernels: got liger, which runs on CUDA only; set hardware.kernels=eager or compile")
    if hardware.activation_offload and not hardware.activation_checkpointing:
        raise ValueError(
            "hardware.activation_offload: true moves the layer inputs that checkpointing keeps, and "
            "hardware.activation_checkpointing is false; set it to true, or hardware.activation_offload=false"
        )


class Auto(Strict):
    """Chooses one of the other kinds of hardware by the devices of the machine where the run starts."""

    kind: Literal["auto"]
    threads: Annotated[int | None, Key("speed")] = Field(None, ge=1)
    """torch threads where the CPU is chosen; null takes all cores this process may use."""


Hardware = CPU | GPU | Zero
"""The hardware that a run uses, after ``auto`` has been resolved."""

HardwareChoice = Annotated[CPU | GPU | Zero | Auto, Field(discriminator="kind")]


class NoTracking(Strict):
    """Metrics stay in the run directory."""

    kind: Literal["none"]


class WandbTracking(Strict):
    """Weights & Biases as well; the local metrics file is always written."""

    kind: Literal["wandb"]
    mode: Literal["offline", "online"]
    """offline needs no account; upload later with ``wandb sync``."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    project: str = "lwexp"
    """W&B project of the runs."""
    tags: tuple[str, ...] = ()
    """Tags of each run."""
    system_metrics: Annotated[bool, Key("label", neutral=True)] = True
    """Load and memory of the machine and its GPUs, every 15 seconds."""
    git: Annotated[bool, Key("label", neutral=True)] = True
    """The commit of the repository that the command was started in."""
    console: Annotated[bool, Key("label", neutral=True)] = True
    """What the run prints, on both streams."""


class TensorboardTracking(Strict):
    """TensorBoard event files in the run directory as well."""

    kind: Literal["tensorboard"]


Tracking = Annotated[NoTracking | WandbTracking | TensorboardTracking, Field(discriminator="kind")]


class Validation(Strict):
    """Documents held out of training, whose loss is measured while training goes on."""

    share: float = Field(0.0, ge=0, lt=1)
    """Share of each source's documents to hold out, chosen by a hash of their ids; 0 holds nothing out."""
    max_documents: int = Field(64, ge=1)
    """Hold out at most this many documents of each source."""
    every_steps: Annotated[int, Key("speed")] = Field(100, ge=1)
    """Optimiser steps between two validations."""


class Probe(Strict):
    """A few ruler prompts answered with the current weights, to see how the longest output changes during training."""

    every_steps: int | None = Field(None, ge=1)
    """Steps between two probes; null switches the probe off."""
    required_words: tuple[int, ...] = Field((1000, 2000, 5000, 10000), min_length=1)
    """Lengths that the prompts ask for, in words."""
    topics: int = Field(1, ge=1, le=8)
    """Prompts of each length."""
    max_new_tokens: int = Field(32768, ge=1)
    """Longest answer, in tokens."""


class TrainingConfig(Strict):
    """Where training starts and how it is watched."""

    log_every_steps: Annotated[int, Key("speed")] = Field(10, ge=1)
    """Optimiser steps between two rows of metrics."""
    checkpoint_every_steps: Annotated[int | None, Key("speed")] = Field(None, ge=1)
    """Additional checkpoints by steps; null: by time only. A re-run resumes from the newest whole checkpoint."""
    checkpoint_every_minutes: Annotated[float | None, Key("speed")] = Field(30.0, gt=0)
    """Longest time between two checkpoints, which is the most work that a crash can cost; null: never by time. The last
    step and a stop signal always write one."""
    keep_checkpoints: Annotated[int, Key("speed")] = Field(2, ge=1)
    """How many of the newest checkpoints to keep; with 2, one is left if the newest turns out to be damaged."""
    skip_nonfinite: Annotated[int, Key("speed")] = Field(0, ge=0)
    """How many steps with a non-finite loss or gradient a run may skip; with 0, the first one stops it."""
    validation: Validation = Field(default_factory=Validation)
    probe: Annotated[Probe, Key("speed")] = Field(default_factory=Probe)
