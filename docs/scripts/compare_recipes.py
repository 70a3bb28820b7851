"""Accuracy against seconds: recipes of Shiftcast and a plain PyTorch loop, on one network.

Everything is judged on held-out training images; no test image is read. The first table of recipes.md comes
from this script:

    export SHIFTCAST_DATA=~/data
    .venv/bin/python docs/scripts/compare_recipes.py test_byobnet_s1 plain-8 strong-8 pytorch

"pytorch" is the loop below: the usual thirty epochs of SGD with torchvision's transforms, of which
`--plain-epochs` are trained and judged one by one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.data.loading import load_dataset
from shiftcast.training.evaluate import evaluate
from shiftcast.training.job import check_card, set_threads
from shiftcast.training.loop import derive_seeds, seeded_model, train
from shiftcast.training.network import logits_of
from shiftcast.training.resident import ResidentImages
from shiftcast.training.tuning import HeldOut, hold_out
from shiftcast.workspace import data_folder, find_workspace

HELD_OUT = 5_000
PLAIN_RATE, PLAIN_DECAY, PLAIN_BATCH, PLAIN_EPOCHS = 0.1, 5e-4, 128, 30


@dataclass
class Clock:
    """Seconds, and seconds of all processor cores, that trainings took."""

    wall: float = 0.0
    cpu: float = 0.0
    started: tuple[float, float] = field(default=(0.0, 0.0))

    def __enter__(self) -> Clock:
        """Start."""
        self.started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and add what it took."""
        self.wall += time.perf_counter() - self.started[0]
        self.cpu += time.process_time() - self.started[1]


@dataclass
class Comparison:
    """One architecture, the images, and where results go."""

    card: ArchitectureCard
    data: HeldOut
    images: ResidentImages
    out: Path

    def report(
        self, recipe: str, epochs: int, clock: Clock, model: nn.Module, card: ArchitectureCard
    ) -> None:
        """Judge a network on the held-out images and write a line of JSON."""
        sets = {"held out": self.data.held_out.images}
        logits = evaluate(model, card, sets, *self.images.statistics, "cpu")["held out"]
        right = float((logits.argmax(axis=1) == self.data.held_out.labels).mean())
        row = {
            "architecture": card.name,
            "recipe": recipe,
            "epochs": epochs,
            "threads": torch.get_num_threads(),
        }
        row |= {"seconds": round(clock.wall), "cpu_seconds": round(clock.cpu), "accuracy": round(right, 4)}
        print(json.dumps(row), flush=True)  # noqa: T201
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.out.open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def loader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the training images as a tutorial would load them."""
        mean, std = (torch.tensor(values)[:, None, None] for values in self.images.statistics)
        random = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32)]
        transform = v2.Compose(random)

        def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
            images = [(transform(image) - mean) / std for image, _ in items]
            return torch.stack(images), torch.stack([label for _, label in items])

        pixels = self.images.images.permute(0, 3, 1, 2).contiguous()
        pairs = TensorDataset(pixels, self.images.labels)
        return DataLoader(pairs, PLAIN_BATCH, shuffle=True, collate_fn=collate)

    def plain_pytorch(self, epochs: int) -> None:
        """Train and report a loop as in a tutorial."""
        model, loader = seeded_model(self.card, 10, 0), self.loader()
        optimiser = torch.optim.SGD(
            model.parameters(), PLAIN_RATE, 0.9, weight_decay=PLAIN_DECAY, nesterov=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, PLAIN_EPOCHS * len(loader))
        clock = Clock()
        for epoch in range(epochs):
            with clock:
                model.train()
                for images, labels in loader:
                    optimiser.zero_grad()
                    cross_entropy(logits_of(model, self.card, images), labels).backward()
                    optimiser.step()
                    schedule.step()
            self.report("pytorch", epoch + 1, clock, model, self.card)


def main() -> None:
    """Train what is named and write a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture")
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--plain-epochs", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("outputs/recipes.jsonl"))
    asked = parser.parse_args()
    workspace = find_workspace(None)
    set_threads(asked.threads)
    data = hold_out(load_dataset(workspace.dataset("cifar10-train"), data_folder()), HELD_OUT, None, 0)
    images = ResidentImages(data.fitting.images, data.fitting.labels)
    comparison = Comparison(workspace.network(asked.architecture), data, images, asked.out)
    for name in asked.recipes:
        if name == "pytorch":
            comparison.plain_pytorch(asked.plain_epochs)
            continue
        recipe = workspace.training(asked.architecture, name)
        card = recipe.fitted(comparison.card)
        check_card(card, 10, recipe)
        seeds = derive_seeds(card.name, f"compare|{name}", 0)
        model = seeded_model(card, 10, seeds.weights)
        with Clock() as clock:
            train(model, card, images, recipe, seeds, "cpu")
        comparison.report(name, recipe.epochs_run, clock, model, card)


if __name__ == "__main__":
    main()
