"""Names that other tools use for lwexp's keys: transformers, TRL, LLaMA-Factory, axolotl, Lightning."""

_BATCH = "objective.global_batch"
_BATCH_NOTE = "packs per step over all GPUs; lwexp divides it among GPUs and accumulation steps"

_WORDS = {
    "objective.optimizer.lr": "learning_rate lr base_lr",
    "objective.optimizer.weight_decay": "weight_decay",
    "objective.optimizer.warmup_ratio": "warmup_ratio warmup_steps num_warmup_steps warmup",
    "objective.optimizer.grad_clip": "max_grad_norm gradient_clip_val clip_grad clip_grad_norm",
    "objective.optimizer.schedule": "lr_scheduler_type lr_scheduler scheduler",
    "objective.optimizer.betas": "adam_beta1 adam_beta2 adam_betas",
    "objective.epochs": "num_train_epochs epochs max_epochs num_epochs n_epochs",
    "objective.max_steps": "max_steps max_train_steps num_train_steps total_steps train_iters",
    "objective.beta": "pref_beta dpo_beta",
    "objective.loss": "pref_loss loss_type",
    "objective.nll_weight": "rpo_alpha pref_ftx",
    "pack.max_tokens": "max_seq_length max_seq_len max_length cutoff_len sequence_len seq_len seq_length block_size",
    "pack.strategy": "packing sample_packing",
    "root": "output_dir out_dir save_dir work_dir output_path default_root_dir",
    "name": "run_name exp_name experiment_name",
    "seed": "seed random_seed data_seed",
    "model.path": "model_name_or_path model_path pretrained_model_name_or_path base_model model_id pretrained_model",
    "model.revision": "model_revision",
    "model.chat": "chat_template template prompt_template",
    "model.lora.r": "lora_r lora_rank",
    "model.lora.alpha": "lora_alpha",
    "model.lora.dropout": "lora_dropout",
    "model.lora.targets": "lora_target lora_target_modules target_modules",
    "model.adapter": "use_peft use_lora finetuning_type peft",
    "hardware.precision": "precision torch_dtype dtype mixed_precision",
    "hardware.attention": "attn_implementation flash_attn flash_attention use_flash_attn",
    "hardware.activation_checkpointing": "gradient_checkpointing",
    "hardware.num_nodes": "nnodes num_machines",
    "tracking.project": "wandb_project",
    "training.log_every_steps": "logging_steps log_every_n_steps log_interval log_freq",
    "training.checkpoint_every_steps": "save_steps save_every save_interval",
    "training.keep_checkpoints": "save_total_limit save_top_k",
    "training.validation.every_steps": "eval_steps val_check_interval eval_interval",
    "training.validation.share": "val_size eval_ratio validation_split test_size val_set_size",
    "sample.max_new_tokens": "max_new_tokens max_gen_toks max_completion_tokens",
    "sample.repeats": "num_return_sequences n_samples",
    "sample.temperature": "temperature",
    "bench.path": "bench_path prompts_path",
    _BATCH: "batch_size train_batch_size global_batch_size per_device_train_batch_size per_device_batch_size "
    "micro_batch_size gradient_accumulation_steps accumulate_grad_batches grad_accum",
}
ALIASES = {word: key for key, words in _WORDS.items() for word in words.split()}
"""Another tool's word -> our key."""

COMMANDS = {
    "bf16": "hardware.precision=bf16-true",
    "fp16": "hardware.precision=bf16-true",
    "fp32": "hardware.precision=32-true",
    "dataset": "mixture=file mixture.path=<file>",
    "datasets": "mixture=file mixture.path=<file>",
    "dataset_name": "mixture=file mixture.path=<file>",
    "dataset_path": "mixture=file mixture.path=<file>",
    "train_file": "mixture=file mixture.path=<file>",
    "data_path": "mixture=file mixture.path=<file>",
    "data": "mixture=file mixture.path=<file>",
    "num_gpus": "hardware=zero3_8x80g hardware.devices=<GPUs>",
    "n_gpus": "hardware=zero3_8x80g hardware.devices=<GPUs>",
    "gpus": "hardware=zero3_8x80g hardware.devices=<GPUs>",
    "num_processes": "hardware=zero3_8x80g hardware.devices=<GPUs>",
    "nproc_per_node": "hardware=zero3_8x80g hardware.devices=<GPUs>",
    "deepspeed": "hardware=zero3_8x80g",
    "fsdp": "hardware=zero3_8x80g",
    "zero_stage": "hardware=zero3_8x80g",
    "report_to": "tracking=wandb",
    "wandb": "tracking=wandb",
    "logger": "tracking=wandb",
    "tensorboard": "tracking=tensorboard",
}
"""Another tool's word -> what to type here."""

NOTES = {_BATCH: _BATCH_NOTE}
"""Notes on keys that other tools count differently."""
