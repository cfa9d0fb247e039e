"""lora-lint: finds out that a LoRA fine-tuning will learn nothing before the GPU bill arrives."""

__version__ = "0.1.0"
