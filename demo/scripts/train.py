"""Fine-tune with a hand-written loop, the way many research scripts do it."""

import argparse

import torch
from model import Countdown, build_base, lora_config
from peft import get_peft_model
from torch.utils.data import DataLoader


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--output", default="adapter")
    args = parser.parse_args()

    data = Countdown()
    train_loader = DataLoader(data, batch_size=8, shuffle=True)
    eval_loader = DataLoader(data, batch_size=16)

    model = build_base()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=10)
    model = get_peft_model(model, lora_config())
    model.print_trainable_parameters()

    for epoch in range(args.epochs):
        for batch in train_loader:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.zero_grad()  # every step starts from clean gradients
            optimizer.step()
            scheduler.step()

        model.eval()
        with torch.no_grad():
            losses = [model(**batch).loss.item() for batch in eval_loader]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}")

    model.save_pretrained(args.output)


if __name__ == "__main__":
    main()
