"""What takes a minute to make is made once, whatever the number of workers."""

import json

from filelock import FileLock


def once(tmp_path_factory, name, make):
    """The JSON data that ``make(folder)`` returns, shared between workers by a file."""
    root = tmp_path_factory.getbasetemp()
    if root.name.startswith("popen-"):  # a worker's folder lies inside that of the run
        root = root.parent
    kept = root / f"{name}.json"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            folder = root / name
            folder.mkdir()
            kept.write_text(json.dumps(make(folder)), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))
