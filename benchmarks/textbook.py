"""The yardstick: DCGAN's training step as tutorials write it. Not to be changed, so that ratios to it stay comparable.

    python benchmarks/textbook.py 64 --seconds 20 --threads 2

Images per second on random pictures held in memory: contiguous float32, Adam parameter by parameter, real and fake
through the discriminator one after the other, and its weights' gradients also computed, for nothing, in the
generator's step. The fakes of the discriminator's step are used again in the generator's. No data are read, nothing
is printed or saved on the way, which favours it. Networks: 1511.06434, 64 channels at the finest map, batch norm in
all but the discriminator's first layer and the generator's last, latents of 100 numbers, batch of 64.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch import Tensor, nn

BATCH, LATENT, WIDTH, CHANNELS = 64, 100, 64, 3


def build_generator(size: int) -> nn.Sequential:
    width = WIDTH * size // 8
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(LATENT, width, 4, 1, 0, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
    ]
    while width > WIDTH:
        layers += [
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(True),
        ]
        width //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, CHANNELS, 4, 2, 1, bias=False), nn.Tanh())


def build_discriminator(size: int) -> nn.Sequential:
    width = WIDTH
    layers: list[nn.Module] = [nn.Conv2d(CHANNELS, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    while width < WIDTH * size // 8:
        layers += [
            nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.LeakyReLU(0.2, True),
        ]
        width *= 2
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 0, bias=False), nn.Sigmoid())


class Textbook:
    """Both networks, their optimizers, and one step of the game."""

    def __init__(self, size: int) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = build_generator(size), build_discriminator(size)
        self.criterion = nn.BCELoss()
        settings = {"lr": 2e-4, "betas": (0.5, 0.999), "foreach": False, "fused": False}
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **settings)  # type: ignore[arg-type]
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(),
            **settings,  # type: ignore[arg-type]
        )

    def step(self, real: Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        self.discriminator.zero_grad()
        self.criterion(self.discriminator(real).view(-1), ones).backward()
        fake = self.generator(torch.randn(len(real), LATENT, 1, 1))
        self.criterion(self.discriminator(fake.detach()).view(-1), zeros).backward()
        self.discriminator_optimizer.step()
        self.generator.zero_grad()
        self.criterion(self.discriminator(fake).view(-1), ones).backward()
        self.generator_optimizer.step()


def images_per_second(size: int, seconds: float) -> float:
    """After three steps of warming up."""
    textbook, real = Textbook(size), torch.rand(BATCH, CHANNELS, size, size) * 2 - 1
    for _ in range(3):
        textbook.step(real)
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        textbook.step(real)
        steps += 1
    return steps * BATCH / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description="images per second of the textbook's DCGAN step")
    parser.add_argument("size", type=int, choices=(32, 64))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rate = images_per_second(given.size, given.seconds)
    print(json.dumps({"size": given.size, "threads": given.threads, "images_per_second": round(rate, 1)}))


if __name__ == "__main__":
    main()
