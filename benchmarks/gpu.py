"""Time the paper's three stages at its size on one GPU: detl, plain Keras and PyTorch by hand.

The source stage trains VGG-16 (224 pixels, full width, bfloat16) on 88,379 made-up images of one
channel, kept as bytes; every image is turned, scaled and mirrored at random. Five recipes take
turns, each a process of its own, two rounds; plain Keras is fed as its guides say: on JAX by arrays
and layers that augment on the GPU, on PyTorch by a ``DataLoader`` whose workers augment. A turn
lies within an epoch of full batches, so that nothing is compiled or validated in it. Then come five
folds of the target stage and heatmaps, of 1,277 images, from a cold start.

A recipe that fails or takes too long costs its own rows alone; ``errors.txt`` says why. Needs
PyTorch, JAX and Keras, but not TensorFlow.

Run: ``python -m benchmarks.gpu --out results``; to try it without a GPU:
``python -m benchmarks.gpu --out /tmp/tried --device cpu --size 32 --images 256 --width 0.125``
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows

SOURCE_CLASSES, TARGET_CLASSES, TARGET_IMAGES, FOLDS = 2, 4, 1277, 5
RATE, CLIP = 1e-3, 1.0
ROTATION, SCALING = 10.0, 0.1  # degrees, share
EPOCHS = 100
WARM = 20  # steps after the first, in which caches fill
BY_HAND = "PyTorch by hand"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a recipe is to do, and where its images are."""

    images: Path
    n: int
    size: int
    width: float
    batch_size: int
    device: str

    def batches(self, n_classes: int = SOURCE_CLASSES) -> tuple[np.ndarray, np.ndarray]:
        """Return images, as many as fill batches, and the indices of their classes."""
        n = self.n - self.n % self.batch_size
        return np.load(self.images, mmap_mode="r")[:n], np.arange(n) % n_classes

    def target(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of the target set and the names of their classes."""
        images = np.array(np.load(self.images, mmap_mode="r")[: min(TARGET_IMAGES, self.n)])
        return images, np.array(list("abcd"))[np.arange(len(images)) % TARGET_CLASSES]


def write_images(path: Path, n: int, size: int) -> None:
    """Write images that vary slowly, brighter in one corner for each class: bytes, in parallel."""
    images = np.lib.format.open_memmap(path, "w+", "uint8", (n, size, size, 1))
    places = np.linspace(0, 6, size)
    up = np.clip(1 - np.abs(places[:, None] - np.arange(7)), 0, None).astype("float32")

    def fill(start: int) -> None:
        generator = np.random.default_rng(start)
        rows = np.arange(start, min(start + 512, n))
        coarse = generator.uniform(0, 195, (len(rows), 7, 7)).astype("float32")
        for kind, corner in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)]):
            coarse[rows % 4 == kind, *corner] += 60
        images[rows[0] : rows[-1] + 1, :, :, 0] = up @ coarse @ up.T

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(fill, range(0, n, 512)))


# ------------------------------------------------------------------------------ what takes turns


class Turns:
    """Of a process that trains: after so many steps it says how long they took, and waits."""

    def __init__(self, pipe: Any, synchronize: Callable[[], float]) -> None:
        self._pipe, self._synchronize = pipe, synchronize
        self._done = self._until = 0

    def before_step(self) -> None:
        """Go on, or end the turn; the first time, everything but the training is set up."""
        if self._done == self._until:
            gibibytes = self._synchronize()
            seconds = time.perf_counter() - self._started if self._until else 0.0
            self._pipe.send((seconds, gibibytes))
            self._until += self._pipe.recv()
            self._started = time.perf_counter()
        self._done += 1

    def callback(self) -> Any:
        """Return this as a callback; one for the end of a step would have Keras wait for it."""
        import keras

        return keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs=None: self.before_step()
        )


def synchronize_jax() -> float:
    """Wait for all that is computed; return the most memory that was in use, in GiB."""
    import jax

    jax.block_until_ready(jax.live_arrays())
    used = jax.local_devices()[0].memory_stats() or {}
    return used.get("peak_bytes_in_use", 0) / 2**30


def synchronize_torch() -> float:
    """Wait for all that is computed and give back what is free; return as on JAX."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # for those whose turn is next
    return torch.cuda.max_memory_allocated() / 2**30


# ------------------------------------------------------------------------------ the source stage


def detl_source(turns: Turns, task: Task) -> None:
    """Train with ``detl.pretrain``; two images are validated after an epoch."""
    import detl

    images, targets = task.batches()
    detl.pretrain(
        detl.backbones.vgg16((task.size, task.size, 1), width=task.width),
        images,
        targets,
        validation_data=(images[:SOURCE_CLASSES], targets[:SOURCE_CLASSES]),
        epochs=EPOCHS,
        batch_size=task.batch_size,
        learning_rate=RATE,
        gradient_clip=CLIP,
        augmentation=detl.Augmentation(rotation=ROTATION, scaling=SCALING),
        precision="mixed_bfloat16",
        callbacks=[turns.callback()],
        verbose=0,
    )


def keras_source(turns: Turns, task: Task) -> None:
    """Train with ``Model.fit``, as a careful user of Keras would on this backend."""
    import keras

    import detl

    keras.config.set_dtype_policy("mixed_bfloat16")
    base = detl.backbones.vgg16((task.size, task.size, 1), width=task.width)
    images, targets = task.batches()
    inputs = keras.Input(images.shape[1:], dtype="uint8")
    if keras.backend.backend() == "torch":
        pixels, arguments = inputs, {"x": _loader(images, targets, task.batch_size)}
    else:
        pixels, arguments = _augmented_by_layers(inputs), {"x": images, "y": targets}
        arguments |= {"batch_size": task.batch_size, "shuffle": True}
    logits = keras.layers.Dense(SOURCE_CLASSES, dtype="float32")(base(pixels))
    model = keras.Model(inputs, logits)
    steps = len(images) // task.batch_size
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps * (EPOCHS - 1), warmup_target=RATE, warmup_steps=steps
    )
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=CLIP),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(**arguments, epochs=EPOCHS, callbacks=[turns.callback()], verbose=0)


def _augmented_by_layers(images: Any) -> Any:
    from keras import layers

    for layer in (
        layers.RandomFlip("horizontal", dtype="float32"),
        layers.RandomRotation(ROTATION / 360, dtype="float32"),
        layers.RandomZoom(SCALING, dtype="float32"),
    ):
        images = layer(images)
    return images


def _loader(images: np.ndarray, targets: np.ndarray, batch_size: int) -> Any:
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    batches = BatchSampler(RandomSampler(images), batch_size, drop_last=True)
    return DataLoader(
        _Augmented(images, targets),
        sampler=batches,
        batch_size=None,
        num_workers=min(14, os.cpu_count() or 1),
        pin_memory=True,
        persistent_workers=True,
    )


class _Augmented:
    """Batches for the workers of a ``DataLoader``, which augment them."""

    def __init__(self, images: np.ndarray, targets: np.ndarray) -> None:
        self._images, self._targets = images, targets

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, rows: list[int]) -> tuple[Any, Any]:
        import torch

        from benchmarks import by_hand

        batch = torch.from_numpy(self._images[rows]).permute(0, 3, 1, 2)
        changed = by_hand.augmented(batch, ROTATION, SCALING).round().to(torch.uint8)
        return changed.permute(0, 2, 3, 1), torch.from_numpy(self._targets[rows])


def torch_source(turns: Turns, task: Task) -> None:
    """Train by hand: all images on the GPU, ``channels_last``, compiled, autocast."""
    import torch
    from torch import nn

    from benchmarks import by_hand

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    images, targets = task.batches()
    pictures = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(task.device)
    wanted = torch.from_numpy(targets).to(task.device)
    network = by_hand.vgg16(task.size, task.width, SOURCE_CLASSES).to(task.device)
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
    steps = len(images) // task.batch_size
    rate = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=steps),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * (EPOCHS - 1)),
        ],
        [steps],
    )

    def loss_of(rows: Any) -> Any:
        batch = by_hand.augmented(pictures[rows], ROTATION, SCALING)
        batch = batch.to(memory_format=torch.channels_last)
        with torch.autocast(task.device, torch.bfloat16):
            outputs = network(batch / 127.5 - 1)
        return nn.functional.cross_entropy(outputs.float(), wanted[rows])

    compiled = torch.compile(loss_of)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), device=task.device)
        for rows in order.split(task.batch_size):
            turns.before_step()
            loss = compiled(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            rate.step()


# --------------------------------------------------------------------- target stage and heatmaps


def detl_target(turns: Turns, task: Task) -> None:
    """Cross-validate the default transfer from a source that has learned nothing."""
    import detl

    images, labels = task.target()
    source = detl.backbones.vgg16((task.size, task.size, 1), width=task.width)
    turns.before_step()
    transfer = detl.DomainExtensionTransfer(source)
    detl.cross_validate(transfer, images, labels, n_splits=FOLDS, random_state=0)
    turns.before_step()


def detl_heatmaps(turns: Turns, task: Task) -> None:
    """Explain all images, twice."""
    import keras

    import detl

    images, _ = task.target()
    base = detl.backbones.vgg16((task.size, task.size, 1), width=task.width)
    logits = keras.layers.Dense(TARGET_CLASSES, activation="softmax")(base.output)
    cam = detl.GradCAM(keras.Model(base.input, logits))
    for _ in range(2):
        turns.before_step()
        cam(images)
    turns.before_step()


def torch_heatmaps(turns: Turns, task: Task) -> None:
    """Explain all images by hand, twice, in batches of 32, from and to NumPy."""
    import torch

    from benchmarks import by_hand

    images, _ = task.target()
    network = by_hand.vgg16(task.size, task.width, TARGET_CLASSES).to(task.device).eval()
    for _ in range(2):
        turns.before_step()
        for start in range(0, len(images), 32):
            batch = torch.from_numpy(images[start : start + 32]).to(task.device)
            batch = batch.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            by_hand.heatmaps(network, batch / 127.5 - 1).cpu().numpy()
    turns.before_step()


RECIPES: dict[str, dict[str, tuple[str, Callable[[Turns, Task], None]]]] = {
    "source": {
        "detl on JAX": ("jax", detl_source),
        "Keras on JAX": ("jax", keras_source),
        "detl on PyTorch": ("torch", detl_source),
        "Keras on PyTorch": ("torch", keras_source),
        BY_HAND: ("torch", torch_source),
    },
    "target": {"detl on JAX": ("jax", detl_target), "detl on PyTorch": ("torch", detl_target)},
    "heatmaps": {
        "detl on JAX": ("jax", detl_heatmaps),
        "detl on PyTorch": ("torch", detl_heatmaps),
        BY_HAND: ("torch", torch_heatmaps),
    },
}


# --------------------------------------------------------------------------------- the processes


class Worker:
    """A recipe in a process of its own."""

    def __init__(self, stage: str, name: str, task: Task, folder: Path, limit: float) -> None:
        self.name, self._limit = f"{stage}, {name}, batches of {task.batch_size}", limit
        self._log = folder / f"{stage}-{name}-{task.batch_size}.log".replace(" ", "-")
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        os.environ["KERAS_BACKEND"] = RECIPES[stage][name][0]
        self._process = context.Process(target=_serve, args=(stage, name, task, there, self._log))
        self._process.start()
        there.close()  # so that a process that dies is noticed

    def answer(self) -> tuple[float, float]:
        """Return the seconds of the turn that has begun, and the GiB in use at most."""
        if not self._pipe.poll(self._limit):
            raise TimeoutError(f"no answer in {self._limit:.0f} s")
        return self._pipe.recv()

    def run(self, steps: int) -> tuple[float, float]:
        """Have it train so many steps, and return as ``answer``."""
        self._pipe.send(steps)
        return self.answer()

    def end(self) -> None:
        """Kill it: whatever it does, it is done with."""
        self._process.kill()
        self._process.join()

    def said(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


def _serve(stage: str, name: str, task: Task, pipe: Any, log: Path) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    backend, recipe = RECIPES[stage][name]
    try:
        if backend == "jax":
            import jax

            if task.device == "cpu":
                jax.config.update("jax_platforms", "cpu")
        else:
            import torch

            if task.device == "cpu":
                torch.set_num_threads(os.cpu_count() or 1)
        recipe(Turns(pipe, synchronize_jax if backend == "jax" else synchronize_torch), task)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise


class Results:
    """Rows and errors, written whenever one is added."""

    def __init__(self, out: Path, deadline: float) -> None:
        self._out, self._deadline = out, deadline
        self._rows: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)
        self._versions = measured_with("keras", "jax", "torch", "numpy")

    def add(self, **row: Any) -> None:
        """Add a row to the table."""
        self._rows.append({**row, **self._versions})
        write_rows(self._out / "gpu.csv", self._rows)
        print(*row.values(), sep=" | ", flush=True)

    def fail(self, worker: Worker, error: BaseException) -> None:
        """Write down why there is no row."""
        worker.end()
        print(f"{worker.name}: {error!r}", flush=True)
        with (self._out / "errors.txt").open("a") as file:
            file.write(f"=== {worker.name}: {error!r}\n{worker.said()}\n")

    def in_time(self, part: str) -> bool:
        """Whether there is time for another part."""
        left = self._deadline - time.monotonic()
        print(f"{part}: {left:.0f} s are left.", flush=True)
        return left > 0


def time_source(task: Task, options: argparse.Namespace, folder: Path, results: Results) -> None:
    """Let all recipes train in turns, and add a row for each."""
    stage = RECIPES["source"]
    workers = {
        name: Worker("source", name, task, folder, options.limit)
        for name in stage
        if name in options.recipes
    }
    steps = (task.n // task.batch_size - 1 - WARM) // options.rounds
    warm = WARM if steps > 0 else 1
    first, turn, peaks = {}, {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in workers}

    def attempt(name: str, act: Callable[[Worker], Any]) -> None:
        try:
            act(workers[name])
        except Exception as error:
            results.fail(workers.pop(name), error)

    def compile_and_warm_up(worker: Worker) -> None:
        worker.answer()
        first[name] = worker.run(1)[0]
        step = worker.run(warm)[0] / warm
        turn[name] = max(1, min(int(options.seconds / step), steps))

    def train(worker: Worker) -> None:
        took, peaks[name] = worker.run(turn[name])
        seconds[name].append(took / turn[name] / task.batch_size)

    for name in list(workers):  # one after the other: compilers try out what is fastest
        attempt(name, compile_and_warm_up)
    for _ in range(options.rounds):
        for name in list(workers):
            attempt(name, train)
    for name, worker in workers.items():
        worker.end()
        speeds = 1 / np.array(seconds[name])
        reference = np.array(seconds[BY_HAND]) if BY_HAND in workers else np.nan
        results.add(
            stage="source",
            recipe=name,
            **{
                "batch": task.batch_size,
                "images a second, median": f"{np.median(speeds):.0f}",
                "lowest to highest": spread(speeds, ".0f"),
                "speed, PyTorch by hand is 1": f"{np.median(reference * speeds):.2f}",
                "first step, s": f"{first[name]:.1f}",
                "steps of a turn": turn[name],
                "100 epochs, hours": f"{EPOCHS * task.n / np.median(speeds) / 3600:.2f}",
                "seconds, first": "",
                "seconds, again": "",
                "GiB at most": f"{peaks[name]:.1f}",
            },
        )


def time_once(
    stage: str, task: Task, options: argparse.Namespace, folder: Path, results: Results
) -> None:
    """Let the recipes of a stage run one after the other, from a cold start."""
    for name in RECIPES[stage]:
        if name not in options.recipes or not results.in_time(f"{stage}, {name}"):
            continue
        worker = Worker(stage, name, task, folder, options.limit)
        try:
            worker.answer()
            runs = [worker.run(1) for _ in range(1 if stage == "target" else 2)]
        except Exception as error:
            results.fail(worker, error)
            continue
        worker.end()
        seconds = [took for took, _ in runs]
        results.add(
            stage=stage,
            recipe=name,
            **{
                "batch": 32,
                "images a second, median": "",
                "lowest to highest": "",
                "speed, PyTorch by hand is 1": "",
                "first step, s": "",
                "steps of a turn": "",
                "100 epochs, hours": "",
                "seconds, first": f"{seconds[0]:.1f}",
                "seconds, again": f"{seconds[1]:.1f}" if len(seconds) > 1 else "",
                "GiB at most": f"{runs[-1][1]:.1f}",
            },
        )


def main() -> None:
    """Measure one part after the other, while there is time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.csv and errors.txt")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=88_379)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="of a turn")
    parser.add_argument("--limit", type=float, default=150, help="seconds to wait for an answer")
    parser.add_argument("--total", type=float, default=420, help="seconds to begin parts in")
    names = sorted({name for stage in RECIPES.values() for name in stage})
    parser.add_argument("--recipes", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # processes share the GPU
    results = Results(options.out, time.monotonic() + options.total)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        write_images(images, options.images, options.size)
        size = {"n": options.images, "size": options.size, "width": options.width}
        tasks = [
            Task(images=images, batch_size=batch_size, device=options.device, **size)
            for batch_size in options.batch_sizes
        ]
        time_source(tasks[0], options, Path(folder), results)
        for stage in ("target", "heatmaps"):
            time_once(stage, tasks[0], options, Path(folder), results)
        for task in tasks[1:]:
            if results.in_time(f"batches of {task.batch_size}"):
                time_source(task, options, Path(folder), results)


if __name__ == "__main__":
    main()
