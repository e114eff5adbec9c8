"""The output folder of a run over many scenes: what is finished, one JSON line a scene and expression."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rs2sam2.errors import DataError, OutputError
from rs2sam2.files import append_durably, replace_durably
from rs2sam2.geo.job import SceneOutputs, slugs
from rs2sam2.geo.merging import Layer
from rs2sam2.geo.outputs import writing_to
from rs2sam2.geo.result import SceneResult
from rs2sam2.geo.scene_list import ListedScene
from rs2sam2.geo.sources import GDAL_ERRORS, find_source, gdal_env, is_local, is_referring, open_raster
from rs2sam2.geo.vector_formats import companions
from rs2sam2.json_text import json_line, parse_json
from rs2sam2.locks import make_writable

INDEX, RUN, SCENES = 'index.jsonl', 'run.json', 'scenes'
_MERGED = 'merged'
_KEYS = ('scene', 'name', 'file', 'expression', 'polygons')  # without which a line is none of ours
_TEXTS = ('scene', 'name', 'expression', 'polygons')


class SceneIndex:
    """What is finished in an output folder.

    Args:
        folder: made if needed; held by the caller.
        expressions: what every scene is segmented by.
        settings: everything else that decides the numbers.

    Attributes:
        torn: names of scenes that were finished and whose files are not all there any more, and their paths.

    Raises:
        OutputError: the folder holds the results of another run, or cannot be written.
    """

    def __init__(self, folder: Path, expressions: Sequence[str], settings: dict) -> None:
        self.folder, self._expressions = folder, list(expressions)
        make_writable(folder)
        make_writable(folder / SCENES)
        settings = json.loads(json.dumps({'expressions': self._expressions, **settings}, default=str))
        path = folder / RUN
        self._settings, self._merged = settings, {}
        if path.exists():
            known = self._parse(path.read_bytes(), path)
            self._merged = known.get(_MERGED, {})
            if different := _different(settings, known):
                raise OutputError(
                    f'{folder} holds the results of another run ({", ".join(different)} differ): choose another --out'
                )
        else:
            self._replace(path, json_line(settings, indent=1))
        self._files: dict[str, dict | None] = {}
        self.torn: dict[str, str] = {}
        self._rows = self._read()

    def names(self, scenes: Sequence[ListedScene]) -> list[ListedScene]:
        """The scenes under the names that they have in the folder, new ones under names that are free there.

        What their files are is looked at here, before they are read: one that is replaced after that is done again.
        """
        before = self.torn | {name: rows[0]['scene'] for name, rows in self._rows.items()}
        known = {scene: name for name, scene in before.items()}
        taken = {name.casefold() for name in before}
        named = []
        for one in scenes:
            name, number = known.get(_key(one.scene)), 2
            if name is None:
                name = one.name
                while name.casefold() in taken:
                    name, number = f'{one.name}-{number}', number + 1
                taken.add(name.casefold())
            named.append(one._replace(name=name))
            self._files[name] = _facts(one.scene)
        return named

    def outputs(self, name: str) -> SceneOutputs:
        """Where the outputs of a scene are."""
        scenes = self.folder / SCENES

        def each(kind: str) -> tuple[Path, ...]:
            return tuple(scenes / f'{name}.{slug}.{kind}.tif' for slug in slugs(self._expressions))

        return SceneOutputs(each('mask'), each('probability'), scenes / f'{name}.gpkg')

    def is_finished(self, one: ListedScene) -> bool:
        """Whether all outputs of a scene are there, and the scene is still the one that they are of."""
        rows = self._rows.get(one.name, [])
        return bool(rows) and rows[0]['file'] == self._files[one.name]

    def was_replaced(self, one: ListedScene) -> bool:
        """Whether a scene was finished, and is another file since, or none."""
        rows = self._rows.get(one.name, [])
        return bool(rows) and rows[0]['file'] != self._files[one.name]

    def add(self, one: ListedScene, results: Sequence[SceneResult]) -> None:
        """A scene is finished: its rows are on the disk when this returns."""
        self._rows[one.name] = rows = [self._row(one, result) for result in results]
        with writing_to(self.folder):
            append_durably(self.folder / INDEX, b''.join(map(json_line, rows)))

    def finish(self, order: Sequence[str]) -> None:
        """Writes the index in the order of these names, others after them."""
        names = [name for name in order if name in self._rows]
        names += sorted(self._rows.keys() - set(names))
        self._rows = {name: self._rows[name] for name in names}
        self._replace(self.folder / INDEX, self._text())

    def is_merged(self, target: Path) -> bool:
        """Whether a file, or its parts, holds the polygons of just what is finished."""
        known = self._merged.get(self._path(target), {})
        return known.get('index') == self._digest() and self._are_there(known['files'])

    def note_merged(self, target: Path, layers: Sequence[Layer]) -> None:
        """The polygons were merged; parts that an earlier run left beside them, with other CRS, are removed."""
        files = {self._path(layer.path): layer.path.stat().st_size for layer in layers}
        for name, size in self._merged.get(self._path(target), {}).get('files', {}).items():
            if name not in files and self._are_there({name: size}):
                path = self.folder / name
                for one in (path, *companions(path)):
                    one.unlink(missing_ok=True)
        self._merged[self._path(target)] = {'index': self._digest(), 'files': files}
        self._replace(self.folder / RUN, json_line({**self._settings, _MERGED: self._merged}, indent=1))

    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        return [row for rows in self._rows.values() for row in rows]

    def _row(self, one: ListedScene, result: SceneResult) -> dict[str, Any]:
        outputs = {'mask': result.mask, 'probability': result.probability, 'polygons': result.polygons}
        return {
            'scene': _key(one.scene),
            'name': one.name,
            'file': self._files[one.name],
            'expression': result.expression,
            **{kind: self._path(file) for kind, file in outputs.items() if file is not None},
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
        """Rows by name; of a scene whose rows or files are torn nothing, so that it is done again."""
        path = self.folder / INDEX
        rows: dict[str, dict[str, dict]] = {}
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b'\n'):
                    row = self._parse(line, path)
                    if missing := [key for key in _KEYS if key not in row]:
                        raise OutputError(
                            f'{path} is no file of this command (a line has no {missing[0]}): choose another --out'
                        )
                    if wrong := [key for key in _TEXTS if not isinstance(row[key], str)]:
                        raise OutputError(
                            f'{path} is no file of this command ({wrong[0]} of a line is no text): choose another --out'
                        )
                    rows.setdefault(row['name'], {})[row['expression']] = row
        whole = {}
        for name, known in rows.items():
            of_one = [known[expression] for expression in self._expressions if expression in known]
            # Rows of a scene that was done again are written at once, but a disk may lose the second half.
            together = len(of_one) == len(self._expressions) and all(row['file'] == of_one[0]['file'] for row in of_one)
            if together and all(file.is_file() for file in self.outputs(name).named()):
                whole[name] = of_one
            else:
                self.torn[name] = next(iter(known.values()))['scene']
        # Half a line would swallow the next one.
        if path.exists() and not path.read_bytes().endswith(b'\n'):
            self._replace(path, b''.join(json_line(row) for known in whole.values() for row in known))
        return whole

    def _text(self) -> bytes:
        return b''.join(json_line(row) for rows in self._rows.values() for row in rows)

    def _digest(self) -> str:
        return hashlib.sha256(self._text()).hexdigest()

    def _path(self, file: Path) -> str:
        return os.path.relpath(file, self.folder)

    def _are_there(self, files: dict[str, int]) -> bool:
        """Whether files are there, of these sizes."""
        paths = {self.folder / name: size for name, size in files.items()}
        return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())

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
            try:
                temporary.write_bytes(content)
                replace_durably(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)


def _key(scene: str) -> str:
    return os.path.abspath(scene) if is_local(scene) else scene


def _facts(scene: str) -> dict | None:
    """What tells a local file from another of its name; of a virtual raster, what tells the files that it names."""
    try:
        known = [os.stat(file) for file in [scene, *(_named_files(scene) if is_referring(scene) else [])]]
    except OSError:
        return None
    return {'bytes': sum(one.st_size for one in known), 'modified_ns': max(one.st_mtime_ns for one in known)}


def _named_files(scene: str) -> list[str]:
    # What cannot be read is told by who runs it.
    with suppress(*GDAL_ERRORS, DataError), gdal_env():
        source = find_source(scene)
        with open_raster(source) as dataset:
            return sorted(file for file in set(dataset.files) - {source.name} if os.path.isfile(file))
    return []


def _different(settings: dict, known: dict) -> list[str]:
    """Names of settings that are not those that are known, a dictionary's own ones."""
    names = []
    for key, value in settings.items():
        other = known.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            names += [one for one in value | other if value.get(one) != other.get(one)]
        elif value != other:
            names.append(key)
    return names
