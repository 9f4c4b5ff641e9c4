"""Reads names of architectures, one a line, and writes what was found in each, one line of JSON each."""

from __future__ import annotations

import json
import sys
import warnings


def main() -> None:
    """Until there is nothing more to read."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print is no answer
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
