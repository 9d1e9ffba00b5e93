"""gan-cli from Python: trains eight Gaussians on a ring for seconds, then loads, samples and judges the generator."""

from gan_cli.api import evaluate, load_generator, sample, train

run = train(["experiment=ring", "budget=8s", "name=from_python", "threads=1"])

generator = load_generator(run)
points = sample(generator, seeds=range(1000))  # float32, 1000 x 2; a seed is a point, here and in gan-sample
print(f"{len(points)} points, {points.norm(dim=1).mean():.2f} from the middle; the ring's radius is 2")

for figure in evaluate(run, metrics=["modes"]).figures:
    print(f"{figure.name}: {figure.value:g}")
