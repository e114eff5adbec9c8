"""The checkpoints in a work dir: which one is the last, what a killed run left over."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from rs2sam2.errors import CheckpointError
from rs2sam2.weights.files import open_state_dict, remove_leftovers, replace_durably, temporary_name

# The path of the last checkpoint, as mmengine's and mmsegmentation's tools read it; here only its name is trusted.
POINTER = 'last_checkpoint'
START = '.started'
SLURM_JOB = 'SLURM_JOB_ID'
# Checkpoints with training state; `best_*.pth` hold weights only.
NAME = re.compile(r'(epoch|iter|resume_iter)_\d+\.pth')
ANY_NAME = re.compile(r'.+\.pth')
# No path is longer.
POINTER_LENGTH = 4096


def named_inside(folder: Path, said: object, pattern: re.Pattern) -> Path | None:
    """The file of a folder that a checkpoint or `last_checkpoint` means.

    Both hold the path that was true when they were written. A folder may have been copied or renamed since, and a file
    from elsewhere may say anything: only the name counts, and only in this folder.

    Args:
        folder: where it must lie.
        said: what the file says.
        pattern: what its name must be.

    Returns:
        The path, or None where that is no file of the folder.
    """
    name = Path(said).name if isinstance(said, str) else ''
    return folder / name if pattern.fullmatch(name) and (folder / name).is_file() else None


def latest_checkpoint(work_dir: Path, since: float = 0.0) -> Path | None:
    """Find the checkpoint that was finished last.

    That is what `last_checkpoint` names; or one that goes on from there, where training was killed between the two; or
    the one that was written last, where there is no such name or its file is gone. When and where a checkpoint was
    written is read in it: a copied file may have any time.

    Args:
        work_dir: the work dir.
        since: leave out what is older than this time (seconds since 1970).
    """
    found = {path: _written(path) for path in work_dir.glob('*.pth') if NAME.fullmatch(path.name) and path.is_file()}
    named = _named_latest(work_dir)
    if named is not None:
        time, iteration = _written(named)
        found = {path: one for path, one in found.items() if one[0] >= time and one[1] > iteration}
        found = found or {named: (time, iteration)}
    last = max(found, key=lambda path: found[path], default=None)
    return None if last is None or last.stat().st_mtime < since else last


def _named_latest(work_dir: Path) -> Path | None:
    pointer = work_dir / POINTER
    if not pointer.is_file():
        return None
    with pointer.open(encoding='utf-8', errors='replace') as f:
        said = f.read(POINTER_LENGTH)
    return named_inside(work_dir, said.strip(), ANY_NAME)


def _written(checkpoint: Path) -> tuple[str, int]:
    """When a checkpoint was written and after how many iterations; before all others where it does not say."""
    try:
        meta = open_state_dict(checkpoint).content.get('meta')
    except CheckpointError:
        # Whoever loads it is told why it cannot be read.
        return '', -1
    time, iteration = (meta.get('time'), meta.get('iter')) if isinstance(meta, dict) else ('', -1)
    return (time, iteration) if isinstance(time, str) and isinstance(iteration, int) else ('', -1)


def name_latest(work_dir: Path, checkpoint: str) -> None:
    """Write `last_checkpoint`, when the checkpoint is on disk."""
    pointer = work_dir / POINTER
    temporary = temporary_name(pointer)
    temporary.write_text(checkpoint)
    replace_durably(temporary, pointer)


def keep_tokenizers(work_dir: Path, pipeline: Sequence[dict]) -> None:
    """Copy the tokenizers of a pipeline into a work dir, under their own names, so that it works from any folder.

    What is there already stays: a run has one tokenizer.
    """
    for step in pipeline:
        tokenizer = step.get('tokenizer')
        if not isinstance(tokenizer, dict) or 'path' not in tokenizer:
            continue
        source = Path(tokenizer['path'])
        target = work_dir / source.name
        if not source.exists() or target.exists():
            continue
        temporary = temporary_name(target)
        if source.is_dir():
            shutil.copytree(source, temporary)
        else:
            shutil.copy(source, temporary)
        temporary.rename(target)


def remove_unfinished(folder: Path) -> list[str]:
    """Remove the temporary files that a killed process left; returns their names."""
    return [name for pattern in ('*.pth', '*.py', POINTER) for name in remove_leftovers(folder, pattern)]


def mark_start(work_dir: Path) -> None:
    """Note that a run began from nothing: what was in the work dir before is not its own."""
    (work_dir / START).write_text(os.environ.get(SLURM_JOB, ''))


def started_at(work_dir: Path) -> float:
    """When the work dir's run began from nothing, in seconds since 1970; 0 where nobody noted it."""
    start = work_dir / START
    return start.stat().st_mtime if start.is_file() else 0.0


def is_restarted(work_dir: Path) -> bool:
    """Whether this process takes the place of one of the same run: torchrun started it again, or Slurm queued it again.

    A Slurm job that began this run in the work dir left its number there.
    """
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')) > 0:
        return True
    job, start = os.environ.get(SLURM_JOB), work_dir / START
    requeued = int(os.environ.get('SLURM_RESTART_COUNT', '0')) > 0
    return requeued and bool(job) and start.is_file() and start.read_text().strip() == job
