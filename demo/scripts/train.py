"""Fine-tune with a hand-written loop, the way many research scripts do it."""

import argparse

import torch
from model import Countdown, add_adapter, build_base
from torch.utils.data import DataLoader


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    losses = [model(**batch).loss.item() for batch in loader]
    return sum(losses) / len(losses)


def train_epoch(model, loader, optimizer, scheduler):
    for batch in loader:
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.zero_grad()  # start every step from clean gradients
        optimizer.step()
        scheduler.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--output", default="adapter")
    args = parser.parse_args()

    data = Countdown()
    train_loader = DataLoader(data, batch_size=8, shuffle=True)
    eval_loader = DataLoader(data, batch_size=16)

    model = build_base()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=args.epochs * len(train_loader))
    model = add_adapter(model)
    model.print_trainable_parameters()

    for epoch in range(args.epochs):
        train_epoch(model, train_loader, optimizer, scheduler)
        print(f"epoch {epoch}: loss {evaluate(model, eval_loader):.4f}")

    model.save_pretrained(args.output)


if __name__ == "__main__":
    main()
