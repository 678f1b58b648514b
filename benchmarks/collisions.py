"""Let processes meet, be killed and find the disk full, again and again, and count what holds.

A case holds if who comes second is refused by name, if no reader ever finds half a file, and if all
that comes out is what a run gives that nothing disturbs.

Run, on Linux: ``python -m benchmarks.collisions`` (on two cores, eight minutes)
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier

from benchmarks.cases import PIXELS, Cases, Fault, is_refused, report, source, validated
from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    FeatureExtractor,
    features,
    load_source,
)
from detl.storage import LockedError

PROCESSES = multiprocessing.get_context("spawn")


def started(target: Callable[..., None], *arguments: Any) -> Any:
    """Return a process that runs a function."""
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    return process


def run(target: Callable[..., None], *arguments: Any) -> bool:
    """Run a function in a process of its own, and say whether it went well."""
    process = started(target, *arguments)
    process.join()
    return process.exitcode == 0


def wait_for(path: Path, process: Any) -> None:
    """Wait until a process has written a file, or has ended."""
    while not path.exists() and process.is_alive():
        time.sleep(0.01)


# -------------------------------------------------------------------------------------------- kills


def train(folder: Path, answer: Path) -> None:
    """Cross-validate a transfer, and write down what it says."""
    transfer = DomainExtensionTransfer(source(), epochs=3, learning_rate=0.01)
    np.save(answer, validated(transfer, folder).probabilities)


def kills(folder: Path, times: int) -> Cases:
    """Kill a run at a random moment of any of its folds, and let another go on."""
    run(train, folder / "undisturbed", folder / "expected.npy")
    expected = np.load(folder / "expected.npy")
    generator = np.random.default_rng(0)
    for number in range(times):
        into, answer = folder / f"run{number}", folder / f"{number}.npy"
        process = started(train, into, answer)
        finished = number % 3
        wait_for(into / (f"fold_{finished - 1:03}.npz" if finished else "run.json"), process)
        time.sleep(generator.uniform(0, 0.4))  # a fold takes about as long
        process.kill()
        process.join()
        run(train, into, answer)
        yield np.array_equal(np.load(answer), expected)


# -------------------------------------------------------------------------------- several processes


def save_often(path: Path, times: int) -> None:
    """Save a source or a result, again and again."""
    saved = source() if path.suffix == ".keras" else validated()
    for _ in range(times):
        saved.save(path)


def two_writers(path: Path, times: int, read: Callable[[Path], object]) -> Cases:
    """Yield whether a file is whole, as often as it can be read while two processes write it."""
    save_often(path, 1)
    first = path.stat().st_ino
    writers = [started(save_often, path, times) for _ in range(2)]
    while any(writer.is_alive() for writer in writers):
        if path.stat().st_ino != first:  # before, nobody writes
            yield not is_refused(lambda: read(path))
    read(path)
    yield all(writer.exitcode == 0 for writer in writers)
    yield [other.name for other in path.parent.iterdir()] == [path.name]


def two_writers_of_a_source(folder: Path, times: int) -> Cases:
    """Save a source to one path by two processes, while another reads it."""
    yield from two_writers(folder / "source.keras", times, load_source)


def two_writers_of_a_result(folder: Path, times: int) -> Cases:
    """Save a result to one path by two processes, while another reads it."""
    yield from two_writers(folder / "result.json", times, CrossValidationResult.load)


def extract_often(folder: Path, answer: Path, seed: int, times: int) -> None:
    """Extract features of some images, again and again, as in a new process each time."""
    extractor = FeatureExtractor(source(), cache_dir=folder).fit(PIXELS)
    generator = np.random.default_rng(seed)
    found = np.full((times, len(PIXELS), extractor.transform(PIXELS[:1]).shape[1]), np.nan)
    for call in range(times):
        features.clear_cache()
        rows = generator.permutation(len(PIXELS))[: generator.integers(1, len(PIXELS))]
        found[call, rows] = extractor.transform(PIXELS[rows])
    np.save(answer, found)


def one_cache(folder: Path, times: int) -> Cases:
    """Extract features by four processes with one ``cache_dir``."""
    expected = FeatureExtractor(source()).fit_transform(PIXELS)
    answers = [folder / f"answer{seed}.npy" for seed in range(4)]
    calls = max(1, times // len(answers))
    processes = [
        started(extract_often, folder / "cache", answer, seed, calls)
        for seed, answer in enumerate(answers)
    ]
    for process, answer in zip(processes, answers, strict=True):
        process.join()
        found = np.load(answer) if process.exitcode == 0 else np.zeros((calls, 1, 1))
        for call in found:
            # A batch of another size may round otherwise.
            yield np.allclose(np.where(np.isnan(call), expected, call), expected, rtol=1e-5)


class Slow(DummyClassifier):
    """Take a while over each fold."""

    __module__ = "benchmarks.collisions"  # in every process: else it would be of another run

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Slow:
        """Wait, then fit."""
        time.sleep(2)
        return super().fit(X, y, sample_weight)


def validate_slowly(folder: Path) -> None:
    """Hold a directory for a while."""
    validated(Slow(), folder)


def one_directory(folder: Path, times: int) -> Cases:
    """Start runs in a ``checkpoint_dir`` that is in use, and one after its holder was killed."""
    holder = started(validate_slowly, folder)
    wait_for(folder / "run.json", holder)
    for _ in range(times):
        try:
            validated(Slow(), folder)
        except LockedError as error:
            yield f"process {holder.pid}" in str(error)
        else:
            yield False
    holder.kill()
    holder.join()
    yield np.array_equal(validated(Slow(), folder).probabilities, validated(Slow()).probabilities)


# ---------------------------------------------------------------------------------------- full disk


def full_disk(folder: Path, times: int) -> Cases:
    """Write results, sources, folds and features to a disk that is full after some bytes."""
    answer = folder / "answer.json"
    yield run(fill_disk, folder, answer, times)
    if answer.exists():
        yield from json.loads(answer.read_text())


def fill_disk(folder: Path, answer: Path, times: int) -> None:
    """Write files until no more bytes are allowed, and say which of the files held."""
    held = []
    whole = validated(checkpoint_dir=folder / "run")
    extracted = FeatureExtractor(source(), cache_dir=folder / "cache").fit_transform(PIXELS)
    saved = {
        whole.save(folder / "result.json"): (whole, CrossValidationResult.load),
        source().save(folder / "source.keras"): (source(), load_source),
    }
    smallest = min(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    for number, limit in enumerate(np.linspace(1, smallest - 1, times).astype(int)):
        set_largest_file(int(limit))
        held += [is_full(what.save, path) for path, (what, _) in saved.items()]
        held.append(is_full(load_source, folder / "source.keras"))  # Keras unpacks it to the disk
        into = folder / f"run{number}"
        # Its directory is refused before anything is trained: there is no room for its record.
        held.append(is_full(validated, None, into))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            features.clear_cache()
            extractor = FeatureExtractor(source(), cache_dir=folder / f"cache{number}")
            same = np.array_equal(extractor.fit_transform(PIXELS), extracted)
        held.append(same and any("cache_dir" in str(warning.message) for warning in caught))
        set_largest_file(resource.RLIM_INFINITY)
        for path, (_, load) in saved.items():
            load(path)  # what was there before
    answer.write_text(json.dumps([bool(one) for one in held]))


def is_full(call: Callable[..., object], *arguments: Any) -> bool:
    """Whether a full disk is said to be the reason, by an error of the system's kind."""
    try:
        call(*arguments)
    except OSError:
        return True
    return False


def set_largest_file(n_bytes: int) -> None:
    """Let this process write no larger files, as on a disk without room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


COLLISIONS: dict[Fault, int] = {
    kills: 4,
    two_writers_of_a_source: 20,
    two_writers_of_a_result: 200,
    one_cache: 40,
    one_directory: 5,
    full_disk: 6,
}


def main() -> None:
    """Try each fault, and write a row for it."""
    report(COLLISIONS, description=str(__doc__).splitlines()[0], output="collisions.csv")


if __name__ == "__main__":
    main()
