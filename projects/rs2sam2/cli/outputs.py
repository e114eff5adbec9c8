"""The output folder of a batch run: whole files only, and a record of what is finished."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from rs2sam2.cli.pairs import Pair
from rs2sam2.errors import OutputError
from rs2sam2.files import append_durably, digest, place_of, replace_durably
from rs2sam2.inference.results import SegmentationResult
from rs2sam2.json_text import parse_json
from rs2sam2.locks import make_writable

RESULTS = 'results.jsonl'
RUN = 'run.json'
_UNFINISHED = '.unfinished'


class Found(NamedTuple):
    """Ids of the pairs that are finished, and of those that were until their image was replaced by another."""

    finished: set[str]
    replaced: set[str]


class OutputFolder:
    """Masks, overlays and one JSON line a pair.

    A pair is finished when its line stands in a results file, its pictures are there, and its image is still the one
    that was segmented (the line has its SHA-256). The pictures are written beside their place and moved, the line is
    appended last and forced to the disk. A process of several writes to `results.rank<name>.jsonl`; `merge` makes one
    `results.jsonl` of all.

    Args:
        folder: where to; made if needed.
        worker: name of this process where several write; its rows go into a file of their own.
        overlays: write overlays as well.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, worker: str | None = None, overlays: bool = True) -> None:
        self.folder = folder
        self.overlays = overlays
        self.path = folder / (RESULTS if worker is None else f'results.rank{worker}.jsonl')
        for part in self._parts():
            make_writable(part)
        for path in (self.path, folder / RESULTS, folder / RUN):
            if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
                raise OutputError(f'{path} is there and cannot be written: remove it or choose another --out')

    def begin(self, settings: dict, facts: dict) -> None:
        """Claim the folder for a run, and clear away what a killed run left half-written.

        Args:
            settings: what decides the outputs; a run is only continued with the same.
            facts: what else is worth knowing of the run later.

        Raises:
            OutputError: the folder holds the results of another run.
        """
        path = self.folder / RUN
        with self._errors(self.folder):
            for part in self._parts():
                for leftover in part.glob(f'.*{_UNFINISHED}'):
                    leftover.unlink()
            if path.exists():
                known = _json_object(path.read_text('utf-8'))
                if different := [key for key in settings if known.get(key) != settings[key]]:
                    raise OutputError(
                        f'{self.folder} holds the results of another run ({", ".join(different)} differ): '
                        'choose another --out'
                    )
            content = json.dumps({**settings, **facts}, indent=1) + '\n'
            self._write(path, lambda temporary: temporary.write_text(content, 'utf-8'))

    def look(self, pairs: Sequence[Pair], seen: Callable[[], object] = lambda: None) -> Found:
        """Find out which pairs need not be done again.

        Args:
            pairs: of the run.
            seen: called after every pair: images are read for it.

        Raises:
            OutputError: an id stands for another image or expression in the folder.
        """
        rows = self.read()
        found = Found(set(), set())
        digests: dict[str, str | None] = {}
        for pair in pairs:
            row = rows.get(pair.id)
            if row is not None:
                if (row['image'], row['expression']) != (pair.image, pair.expression):
                    raise OutputError(
                        f'{self.folder} has the id {pair.id} for {row["expression"]!r} in {row["image"]}: '
                        'choose another --out, or other ids'
                    )
                if pair.image not in digests:
                    digests[pair.image] = image_digest(pair.image)
                # What was made of an image that is gone stays.
                if digests[pair.image] not in (None, row.get('image_sha256')):
                    found.replaced.add(pair.id)
                elif all((self.folder / name).is_file() for name in self._pictures(pair).values()):
                    found.finished.add(pair.id)
            seen()
        return found

    def discard(self, pairs: Iterable[Pair]) -> None:
        """Remove pictures and lines of pairs, so that nothing stale is left whatever happens next."""
        pairs = list(pairs)
        with self._errors(self.folder):
            for pair in pairs:
                for name in self._pictures(pair).values():
                    (self.folder / name).unlink(missing_ok=True)
        self.merge((), without={pair.id for pair in pairs})

    def read(self) -> dict[str, dict]:
        """Rows of all results files by id; of two rows of one id the later, of a torn last line nothing."""
        rows = {}
        with self._errors(self.folder):
            for path in sorted(self.folder.glob('results*.jsonl')):
                for line in path.read_bytes().splitlines(keepends=True):
                    if line.endswith(b'\n'):
                        row = _json_object(line)
                        if not all(isinstance(row[key], str) for key in ('id', 'image', 'expression')):
                            raise ValueError('id, image or expression is no text')
                        rows[row['id']] = row
        return rows

    def write(self, pair: Pair, result: SegmentationResult, overlay: np.ndarray | None, sha256: str | None) -> None:
        """Write the pictures of a pair, then its line.

        Args:
            pair: the pair.
            result: what was segmented.
            overlay: (H, W, 3) uint8; None where the folder has none.
            sha256: of the image file, taken before it was decoded.

        Raises:
            OutputError: they cannot be written; nothing is left under a final name but whole pictures.
        """
        pictures = self._pictures(pair)
        mask = Image.fromarray(result.mask.astype(np.uint8) * 255)
        self._write(self.folder / pictures['mask'], lambda path: mask.save(path, format='PNG'))
        if overlay is not None:
            picture = Image.fromarray(overlay)
            self._write(self.folder / pictures['overlay'], lambda path: picture.save(path, format='JPEG', quality=90))
        with self._errors(self.path):
            append_durably(self.path, _line({'id': pair.id, **result.to_dict(), 'image_sha256': sha256, **pictures}))

    def merge(self, pairs: Sequence[Pair], without: Iterable[str] = ()) -> None:
        """Put all rows into one `results.jsonl`, those of `pairs` in their order, others after them."""
        rows = self.read()
        for one in without:
            rows.pop(one, None)
        order = [pair.id for pair in pairs if pair.id in rows]
        order += sorted(rows.keys() - set(order))
        self._write(self.folder / RESULTS, lambda path: path.write_bytes(b''.join(_line(rows[one]) for one in order)))
        with self._errors(self.folder):
            for path in self.folder.glob('results.rank*.jsonl'):
                path.unlink()

    def _parts(self) -> list[Path]:
        names = ('', 'masks', 'overlays') if self.overlays else ('', 'masks')
        return [self.folder / name for name in names]

    def _pictures(self, pair: Pair) -> dict[str, str]:
        names = {'mask': f'masks/{pair.name}.png'}
        return names | {'overlay': f'overlays/{pair.name}.jpg'} if self.overlays else names

    def _write(self, path: Path, save: Callable[[Path], object]) -> None:
        path = place_of(path)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}{_UNFINISHED}')
        with self._errors(path):
            try:
                save(temporary)
                replace_durably(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f'{path} cannot be written ({error.strerror or error}): mend that and run the same command again, '
                'it goes on where it stopped'
            ) from error
        except (ValueError, KeyError) as error:
            raise OutputError(f'{path} is no output folder of this command ({error}): choose another --out') from error


def _line(row: dict) -> bytes:
    # A file name that is not UTF-8 reaches Python as lone surrogates, which JSON can escape and UTF-8 cannot hold.
    return json.dumps(row, ensure_ascii=False).encode('utf-8', 'backslashreplace') + b'\n'


def _json_object(text: str | bytes) -> dict:
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError('not a JSON object')
    return value


def image_digest(path: str) -> str | None:
    """SHA-256 of an image file; None where there is no regular file, or it cannot be read."""
    try:
        return digest(Path(path)) if Path(path).is_file() else None
    except OSError:
        return None
