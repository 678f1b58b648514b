r"""Whether larger ImageNet networks, and the mean of several, see more than EfficientNet-Lite0.

The classifiers of ``how_high_without_leaks`` on features of each network, with equal weights, and
the mean of all networks; the rivals and the folds by patient are those of
``do_more_or_other_images_help``, whose random draw of Data-B is continued with seeds that no other
study has. Nothing is chosen. ``is_the_imagenet_network_exact`` writes the networks.

    python -m studies.do_larger_imagenet_networks_help.run --data FOLDER \
        --imagenet LITE0.keras LITE1.keras LITE2.keras
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras

import detl
from examples.covid_chest_xray import material, tables
from studies.shared import radiographs
from studies.shared.draws import data_b
from studies.shared.features import N_FOLDS, RIVALS, averaged, features, fitted, folds_of
from studies.shared.tables import cell, points, write_csv

RESULTS = Path(__file__).parent / "results"

SEEDS = (3, 4, 5)
MEAN = "mean of all"


def main() -> None:
    """Cross-validate every network, and the mean, for every seed; write one row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--imagenet", type=Path, nargs="+", required=True, help="networks")
    parser.add_argument("--seed", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "networks.csv",
    )
    parsed = parser.parse_args()
    nih, covid = parsed.data / "nih", parsed.data / "covid"
    of_nih = tables.read_nih(nih / "Data_Entry_2017.csv", nih / "images_128", on_missing="skip")
    of_covid = tables.read_covid(covid / "metadata.csv", covid / "images_128", on_missing="skip")
    networks = [keras.saving.load_model(path, compile=False) for path in parsed.imagenet]
    rows: list[dict[str, str]] = []
    for seed in parsed.seed:
        target = material.load_part(
            data_b(of_nih, of_covid, draw="at random", seed=seed), radiographs.SIZE
        )
        rows += compared(networks, target, seed)
        print(*rows[-len(networks) - 1 :], sep="\n", flush=True)
        write_csv(parsed.output, rows)


def compared(networks: list[keras.Model], target: material.Part, seed: int) -> list[dict[str, str]]:
    """Return a row for each network and for their mean, beside the best rival of that seed."""
    folds = folds_of(target, seed)
    means = {}
    for network in networks:
        columns = features(network, target.images)
        means[network.name] = averaged(columns, folds)
    rivals = {name: fitted(model, columns["thumbnail"], folds) for name, model in RIVALS.items()}
    best = max(rivals, key=lambda name: rivals[name].accuracy)
    first = next(iter(means))
    means[MEAN] = detl.average_results(list(means.values()))
    return [
        {
            "seed": str(seed),
            "features of": name,
            "accuracy": cell(result),
            "points more than the first": points(result, means[first], target)
            if name != first
            else "",
            "best rival": f"{rivals[best].accuracy:.3f}, {best}",
            "points more than it": points(result, rivals[best], target),
            "images": str(len(target.labels)),
            "patients": str(len(set(target.patients.tolist()))),
            "folds": str(N_FOLDS),
        }
        for name, result in means.items()
    ]


if __name__ == "__main__":
    main()
