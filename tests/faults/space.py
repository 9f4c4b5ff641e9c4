"""File systems that are really full, or really read-only, for one process: mounts in a namespace of its own.

Root needs no more than ``unshare -m``; anybody else needs user namespaces (``unshare -rm``). Root may write to what
a mode forbids, but not to what is mounted read-only.
"""

import os
import subprocess
from functools import cache

from tests.faults.registry import Skipped


@cache
def _unshare():
    command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    try:
        done = subprocess.run([*command, "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, text=True)
    except OSError as error:
        raise Skipped(f"there is no unshare here ({error.strerror})") from None
    if done.returncode:
        raise Skipped(f"nothing can be mounted here ({done.stderr.strip()})")
    return command


def full(folder, kept, size="0"):
    """What to put before a command so that ``folder`` holds ``size`` bytes more and is then full.

    What it holds at the end is copied to ``kept``. The smallest file system has one page; what is more is filled up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        'folder=$1 kept=$2 size=$3; shift 3; mount -t tmpfs -o size=128k none "$folder" || exit 99; '
        'dd if=/dev/zero of="$folder/.filler" bs=1024 count=$((128 - size)) 2>/dev/null; '
        '"$@"; status=$?; rm -f "$folder/.filler"; cp -r "$folder" "$kept"; exit $status'
    )
    return [*_unshare(), "sh", "-c", script, "sh", str(folder), str(kept), size]


def read_only(folder):
    """What to put before a command for which ``folder`` can be read and not written."""
    folder.mkdir(parents=True, exist_ok=True)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99; shift; exec "$@"'
    return [*_unshare(), "sh", "-c", script, "sh", str(folder)]
