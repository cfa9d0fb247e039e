"""Go on training an adapter that was saved before, with the transformers Trainer."""

import sys

from model import Countdown, build_base
from peft import PeftModel
from transformers import Trainer, TrainingArguments


def main(adapter="adapter", output="resumed"):
    model = PeftModel.from_pretrained(build_base(), adapter)

    arguments = TrainingArguments(
        output_dir=output,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        num_train_epochs=2,
        logging_steps=4,
        gradient_checkpointing=True,
        save_strategy="no",
        report_to=[],
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=Countdown())
    trainer.train()
    trainer.model.save_pretrained(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
