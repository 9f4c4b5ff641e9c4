"""A process that reads one architecture per line and prints one result per line, as JSON."""

from __future__ import annotations

import json
import sys
import warnings


def main() -> None:
    """Examine architectures until the standard input ends; the first argument is the variant."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    warnings.simplefilter("ignore")
    import torch
    import transformers

    from tools.architectures.examine import examine
    from tools.architectures.shrink import Entry

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for line in sys.stdin:
        mapping, _, model_type = line.strip().rpartition(":")
        print(json.dumps(examine(Entry(mapping, model_type), sys.argv[1]).as_dict()), file=answers, flush=True)


if __name__ == "__main__":
    main()
