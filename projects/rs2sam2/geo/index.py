"""The output folder of a run over many scenes: what is finished, one JSON line a scene and expression."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rs2sam2.errors import OutputError
from rs2sam2.files import replace_durably
from rs2sam2.geo.job import SceneOutputs, slugs
from rs2sam2.geo.outputs import writing_to
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.scene_list import ListedScene
from rs2sam2.json_text import json_line, parse_json
from rs2sam2.locks import make_writable

INDEX, RUN, SCENES = 'index.jsonl', 'run.json', 'scenes'


class SceneIndex:
    """What is finished in an output folder.

    Args:
        folder: made if needed; held by the caller.
        expressions: what every scene is segmented by.
        settings: everything else that decides the numbers.

    Raises:
        OutputError: the folder holds the results of another run, or cannot be written.
    """

    def __init__(self, folder: Path, expressions: Sequence[str], settings: dict) -> None:
        self.folder, self._expressions = folder, list(expressions)
        make_writable(folder)
        make_writable(folder / SCENES)
        settings = json.loads(json.dumps({'expressions': self._expressions, **settings}, default=str))
        path = folder / RUN
        if path.exists():
            known = self._parse(path.read_bytes(), path)
            if different := [key for key in settings if known.get(key) != settings[key]]:
                raise OutputError(
                    f'{folder} holds the results of another run ({", ".join(different)} differ): choose another --out'
                )
        else:
            self._replace(path, json_line(settings, indent=1))
        self._rows = self._read()

    def names(self, scenes: Sequence[ListedScene]) -> list[ListedScene]:
        """The scenes under the names that they have in the folder, new ones under names that are free there."""
        known = {rows[0]['scene']: name for name, rows in self._rows.items()}
        taken = {name.casefold() for name in self._rows}
        named = []
        for one in scenes:
            name, number = known.get(_key(one.scene)), 2
            if name is None:
                name = one.name
                while name.casefold() in taken:
                    name, number = f'{one.name}-{number}', number + 1
                taken.add(name.casefold())
            named.append(one._replace(name=name))
        return named

    def outputs(self, name: str) -> SceneOutputs:
        """Where the outputs of a scene are."""
        scenes = self.folder / SCENES

        def each(kind: str) -> tuple[Path, ...]:
            return tuple(scenes / f'{name}.{slug}.{kind}.tif' for slug in slugs(self._expressions))

        return SceneOutputs(each('mask'), each('probability'), scenes / f'{name}.gpkg')

    def is_finished(self, one: ListedScene) -> bool:
        """Whether all outputs of a scene are there, and the scene is still the one that they are of."""
        rows = self._rows.get(one.name)
        return (
            bool(rows)
            and rows[0]['file'] == _facts(one.scene)
            and all(path.is_file() for path in self.outputs(one.name).named())
        )

    def was_replaced(self, one: ListedScene) -> bool:
        """Whether a scene was finished, and is another file since."""
        rows = self._rows.get(one.name)
        return bool(rows) and rows[0]['file'] != _facts(one.scene)

    def add(self, one: ListedScene, results: Sequence[SceneResult]) -> None:
        """A scene is finished: its rows are on the disk when this returns."""
        self._rows[one.name] = rows = [self._row(one, result) for result in results]
        with writing_to(self.folder), open(self.folder / INDEX, 'ab', buffering=0) as file:
            file.write(b''.join(map(json_line, rows)))
            os.fsync(file.fileno())

    def finish(self, order: Sequence[str]) -> None:
        """Writes the index in the order of these names, others after them."""
        names = [name for name in order if name in self._rows]
        names += sorted(self._rows.keys() - set(names))
        self._rows = {name: self._rows[name] for name in names}
        self._replace(self.folder / INDEX, b''.join(json_line(row) for rows in self._rows.values() for row in rows))

    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        return [row for rows in self._rows.values() for row in rows]

    def _row(self, one: ListedScene, result: SceneResult) -> dict[str, Any]:
        path = lambda file: os.path.relpath(file, self.folder)  # noqa: E731
        return {
            'scene': _key(one.scene),
            'name': one.name,
            'file': _facts(one.scene),
            'expression': result.expression,
            'mask': path(result.mask),
            'probability': path(result.probability),
            'polygons': path(result.polygons),
            'objects': result.objects,
            'score': result.score,
            'score_kind': result.score_kind,
            'rejected': result.rejected,
            'scope': result.scope,
            'shape': list(result.shape),
            'foreground_pixels': result.foreground_pixels,
            'valid_pixels': result.valid_pixels,
            'windows': result.windows_run,
            'notes': list(result.notes),
        }

    def _read(self) -> dict[str, list[dict]]:
        """Rows by name; of a scene whose rows are torn nothing, so that it is done again."""
        path = self.folder / INDEX
        rows: dict[str, dict[str, dict]] = {}
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b'\n'):
                    row = self._parse(line, path)
                    rows.setdefault(row['name'], {})[row['expression']] = row
        whole = {}
        for name, known in rows.items():
            if known.keys() >= set(self._expressions):
                whole[name] = [known[expression] for expression in self._expressions]
        # Half a line would swallow the next one.
        if path.exists() and not path.read_bytes().endswith(b'\n'):
            self._replace(path, b''.join(json_line(row) for known in whole.values() for row in known))
        return whole

    def _parse(self, text: bytes, path: Path) -> dict:
        try:
            value = parse_json(text)
            if not isinstance(value, dict):
                raise ValueError('no JSON object')
            return value
        except ValueError as error:
            raise OutputError(f'{path} is no file of this command ({error}): choose another --out') from error

    def _replace(self, path: Path, content: bytes) -> None:
        with writing_to(self.folder):
            temporary = path.with_name(f'.{path.name}.unfinished')
            temporary.write_bytes(content)
            replace_durably(temporary, path)


def _key(scene: str) -> str:
    return os.path.abspath(scene) if os.path.exists(scene) else scene


def _facts(scene: str) -> dict | None:
    """What tells a local file from another of its name."""
    try:
        known = os.stat(scene)
    except OSError:
        return None
    return {'bytes': known.st_size, 'modified_ns': known.st_mtime_ns}
