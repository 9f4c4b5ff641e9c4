"""Results that take a minute to compute, which all xdist workers share."""

import json

from filelock import FileLock


def get_or_compute(tmp_path_factory, name, compute):
    """The JSON data that ``compute(folder)`` returns. One worker computes them and the others read its file."""
    root = tmp_path_factory.getbasetemp()
    if root.name.startswith("popen-"):  # the folder of a worker is inside that of the run
        root = root.parent
    path = root / f"{name}.json"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            folder = root / name
            folder.mkdir()
            path.write_text(json.dumps(compute(folder)), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))
