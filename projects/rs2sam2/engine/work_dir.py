"""The checkpoints in a work dir: which one is the last, what a killed run left over."""

import re
from pathlib import Path

from rs2sam2.weights.files import TEMPORARY_SUFFIX, replace_durably, temporary_name

# mmengine's and mmsegmentation's tools read it: the path of the last checkpoint.
POINTER = 'last_checkpoint'
START = '.started'
# Checkpoints with training state; `best_*.pth` hold weights only.
NAME = re.compile(r'(epoch|iter|resume_iter)_\d+\.pth')


def latest_checkpoint(work_dir: Path, since: float = 0.0) -> Path | None:
    """Find the checkpoint that was finished last.

    That is what `last_checkpoint` names; or a newer file, where training was killed between the two; or the newest
    file, where there is no such name or its file is gone.

    Args:
        work_dir: the work dir.
        since: leave out what is older than this time (seconds since 1970).
    """
    found = {path: path.stat().st_mtime for path in work_dir.glob('*.pth') if NAME.fullmatch(path.name)}
    pointer = work_dir / POINTER
    if pointer.is_file():
        named = Path(pointer.read_text().strip())
        # A work dir may have been moved.
        named = named if named.is_file() else work_dir / named.name
        newer = {path: time for path, time in found.items() if time > pointer.stat().st_mtime}
        if named.is_file():
            found = newer or {named: named.stat().st_mtime}
    last = max(found, key=found.get, default=None)
    return None if last is None or found[last] < since else last


def name_latest(work_dir: Path, checkpoint: str) -> None:
    """Write `last_checkpoint`, when the checkpoint is on disk."""
    pointer = work_dir / POINTER
    temporary = temporary_name(pointer)
    temporary.write_text(checkpoint)
    replace_durably(temporary, pointer)


def remove_unfinished(folder: Path) -> list[str]:
    """Remove the temporary files that a killed process left; returns their names."""
    left = sorted(path for name in ('*.pth', POINTER) for path in folder.glob(f'.{name}.*{TEMPORARY_SUFFIX}'))
    for path in left:
        path.unlink(missing_ok=True)
    return [path.name for path in left]


def mark_start(work_dir: Path) -> None:
    """Note that a run began from nothing: what was in the work dir before is not its own."""
    (work_dir / START).touch()


def started_at(work_dir: Path) -> float:
    """When the work dir's run began from nothing, in seconds since 1970; 0 where nobody noted it."""
    start = work_dir / START
    return start.stat().st_mtime if start.is_file() else 0.0
