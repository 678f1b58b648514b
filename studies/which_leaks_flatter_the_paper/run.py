"""Publish what the chest X-ray example wrote: numbers, and no picture of a radiograph.

The example trains; this puts its numbers beside those of other networks, seeds and settings.

Run: ``python -m studies.which_leaks_flatter_the_paper.run runs/covid_chest_xray``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.covid_chest_xray import publishing

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Copy numbers and write the tables over all that is published."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path, nargs="+", help="what the example's --output was")
    parser.add_argument("--results", type=Path, default=RESULTS)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--other-seed", action="store_true", help="the same run with another seed")
    kind.add_argument("--variants", action="store_true", help="runs with other settings")
    parsed = parser.parse_args()
    if parsed.variants:
        publishing.copy_variants(parsed.outputs, parsed.results / "variants")
        return
    for output in parsed.outputs:
        copy = publishing.copy_other_seed if parsed.other_seed else publishing.copy_numbers
        copy(output, parsed.results)


if __name__ == "__main__":
    main()
