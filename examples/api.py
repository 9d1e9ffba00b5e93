"""gan-cli from Python: trains on eight Gaussians for 8 seconds, then loads, samples and evaluates the generator."""

from gan_cli.api import evaluate, load_generator, sample, train

run = train(["experiment=ring", "budget=8s", "name=from_python", "threads=1"])

generator = load_generator(run)
points = sample(generator, seeds=range(1000))  # float32 [1000, 2]; gan-sample gives the same points
radius = points.norm(dim=1).mean()
print(f"{len(points)} points, on average {radius:.2f} from the centre; the radius of the ring is 2")

for metric in evaluate(run, metrics=["modes"]).figures:
    print(f"{metric.name}: {metric.value:g}")
