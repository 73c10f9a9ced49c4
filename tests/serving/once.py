"""Do a slow thing once, and again only when what it was made from changes.

Keeps a stamp file with the hash of the sources beside the result, and a lock
so that test processes started together wait for one another. It never looks
at the result itself: delete the stamp to have it made again.
"""

import fcntl
import hashlib
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "target"


def digest(sources):
    """Hashes the names and the contents of the source files."""
    hasher = hashlib.sha256()
    for source in sorted(Path(path) for path in sources):
        hasher.update(source.name.encode() + b"\0" + source.read_bytes())
    return hasher.hexdigest()


@contextmanager
def locked(path):
    """Holds an exclusive lock between processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(stamp, sources, make):
    """Calls `make` unless the stamp says that it ran for these sources."""
    wanted = digest(sources)
    with locked(stamp.with_suffix(".lock")):
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return False
        make()
        stamp.write_text(wanted, encoding="utf-8")
        return True
