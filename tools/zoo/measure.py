r"""Measure finished nano models and write what was found into their cards: ``python -m tools.zoo.measure FOLDER``.

The share of neurons whose excess correlation with the other seeds of the family is above 0.5, 0.4 and 0.3, on two
corpora, and the largest such share of a null model. All models of a family have to be in the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from tools.zoo.card import write_card

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLDS = (0.5, 0.4, 0.3)
"""Bounds on the excess correlation. 0.5 is the paper's, 0.4 that of models under 100 million parameters."""
TEXTS = ("prose", "news")
NULLS = ("untrained", "reinitialised", "shuffled", "rotation", "shifted-documents")


def universality_facts(folder: Path, seeds: Sequence[Path], tokens: int) -> dict[str, Any]:
    """The shares of universal neurons of a model, and the largest of its nulls, by corpus and threshold."""
    source = parse_source(str(folder))
    settings = Settings(model=(source.spec,), seed=tuple(map(str, seeds)), tokens=tokens)
    lab = Lab(settings, {source.label: source}, {text: text for text in TEXTS})

    def shares(text: str, control: str = "") -> list[float]:
        neurons = lab.universality(Arm(source.label, control), text).neurons
        return [round(neurons.share(bound), 4) for bound in THRESHOLDS]

    found: dict[str, Any] = {}
    for text in TEXTS:
        nulls = [shares(text, control) for control in NULLS]
        found[text] = {
            "thresholds": list(THRESHOLDS),
            "share": shares(text),
            "largest_null": [max(of_bound) for of_bound in zip(*nulls, strict=True)],
        }
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every finished model in a folder, and write its card anew."""
    parser = argparse.ArgumentParser(prog="python -m tools.zoo.measure", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of finished models, as made by tools.zoo.train")
    parser.add_argument("--tokens", type=int, default=Settings.tokens, help="of each corpus (default %(default)s)")
    options = parser.parse_args(argv)
    found = {
        path.parent: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(options.folder.glob("*/recipe.json"))
    }
    for folder, facts in found.items():
        seeds = [other for other in found if other != folder and found[other]["family"] == facts["family"]]
        facts["universality"] = universality_facts(folder, seeds, options.tokens)
        write_card(folder, facts)
        print(f"{facts['name']}: {json.dumps(facts['universality'])}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
