"""Many scenes as a user names them: files, folders, patterns, lists, STAC item collections, addresses.

What a local file lists are local rasters alone. Addresses are read, and virtual rasters opened, where the user names
them, and never because a file says so.
"""

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from rs2sam2.errors import DataError
from rs2sam2.files import first_bytes, read_regular
from rs2sam2.geo.sources import companion_names, is_local, is_referring, raster_suffixes
from rs2sam2.json_text import read_json

_LISTS = ('.txt', '.lst')
_COLLECTIONS = ('.json', '.geojson')
_MACOS = '._'
_LONGEST = 100  # bytes of a name; a file's name has 255, and an expression and a kind follow
_ASSETS = ('visual', 'image', 'data', 'ortho', 'orthophoto', 'cog', 'analytic')
_MEDIA = ('image/tiff', 'image/jp2', 'image/vnd.stac.geotiff')


class ListedScene(NamedTuple):
    """A scene of many.

    Attributes:
        scene: path or address.
        name: for its outputs; no two are the same.
    """

    scene: str
    name: str


def list_scenes(given: Sequence[str]) -> list[ListedScene]:
    """The scenes that names stand for, each once, in order.

    A folder stands for its rasters (by suffix, not those in sub-folders, and no virtual ones), a pattern for what it
    matches, a `.txt` for one path a line, a STAC item collection (`.json`) for one asset an item.

    Raises:
        DataError: nothing is there, or a list names what is no local raster.
    """
    found: dict[str, ListedScene] = {}
    for one in given:
        for listed in _expand(one):
            key = os.path.realpath(listed.scene) if is_local(listed.scene) else listed.scene
            found.setdefault(key, listed)
    if not found:
        raise DataError('no scene is named; give files, folders, patterns or a list')
    return _distinct(_without_companions(list(found.values())))


def _without_companions(scenes: list[ListedScene]) -> list[ListedScene]:
    """Without what is no scene but belongs to one of them: `*` matches world files and overviews too."""
    beside = {name.casefold() for one in scenes if is_local(one.scene) for name in companion_names(one.scene)}
    return [one for one in scenes if one.scene.casefold() not in beside]


def _expand(given: str) -> list[ListedScene]:
    path = Path(given)
    if not is_local(given):
        return [_named(given)]
    suffix = path.suffix.lower()
    # Unlike pathlib's, os.path's questions are no error for a name that is too long.
    if os.path.isdir(path) and suffix not in raster_suffixes():
        names = sorted(name for name in os.listdir(path) if not name.startswith(_MACOS))
        scenes = [os.path.join(given, name) for name in names if Path(name).suffix.lower() in raster_suffixes()]
        if not scenes:
            raise DataError(
                f'the folder {given} holds no raster; name files, a folder of them, or a pattern, such as '
                f'{os.path.join(given, "**", "*.tif")!r} for those in its folders too'
            )
        return [_named(scene) for scene in scenes]
    if glob.has_magic(given) and not os.path.exists(path):
        names = sorted(name for name in glob.glob(given, recursive=True) if not Path(name).name.startswith(_MACOS))
        if not names:
            raise DataError(f'no file matches {given}')
        return [_named(name) for name in names]
    if suffix in _LISTS:
        return _from_list(path)
    if suffix in _COLLECTIONS and os.path.isfile(path):
        return _from_collection(path)
    return [_named(given)]


def _from_list(path: Path) -> list[ListedScene]:
    try:
        lines = read_regular(path).decode('utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is no text in UTF-8; write one path a line') from error
    named = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip() and line[:1] != '#']
    if not named:
        raise DataError(f'{path} lists no scene; write one path a line')
    return [_named(_local(text, path, f'line {number}')) for number, text in named]


def _from_collection(path: Path) -> list[ListedScene]:
    content = read_json(path, 'give a STAC item collection')
    items = content.get('features') if isinstance(content, dict) and 'features' in content else [content]
    if not isinstance(items, list) or not all(isinstance(item, dict) and 'assets' in item for item in items):
        raise DataError(f'{path} is no STAC item collection; its features need assets')
    if not items:
        raise DataError(f'{path} holds no item; give a STAC item collection with some')
    scenes = []
    for number, item in enumerate(items, 1):
        where = f'item {item.get("id", number)}'
        scene = _local(_asset(item, path, where), path, where)
        scenes.append(ListedScene(scene, str(item['id']) if isinstance(item.get('id'), str) else _named(scene).name))
    return scenes


def _asset(item: dict, path: Path, where: str) -> str:
    """The address of an item's picture: the one raster, or the one that is called or said to be the picture."""
    assets = item['assets']
    if not isinstance(assets, dict):
        raise DataError(f'{path}, {where}: assets are no JSON object')
    rasters = {key: asset['href'] for key, asset in assets.items() if _is_raster(asset)}
    if len(rasters) == 1:
        return next(iter(rasters.values()))
    for key in _ASSETS:
        if key in rasters:
            return rasters[key]
    for role in ('visual', 'data'):
        known = [href for key, href in rasters.items() if role in _roles(assets[key])]
        if len(known) == 1:
            return known[0]
    raise DataError(
        f'{path}, {where}: which of its assets is the scene ({", ".join(rasters) or "none is a raster"})? '
        f'call one {" or ".join(_ASSETS[:3])}, or name the files themselves'
    )


def _roles(asset: dict) -> list:
    roles = asset.get('roles')
    return roles if isinstance(roles, list) else []


def _is_raster(asset: Any) -> bool:
    if not isinstance(asset, dict) or not isinstance(asset.get('href'), str):
        return False
    media = str(asset.get('type', '')).lower()
    return media.startswith(_MEDIA) or (not media and PurePath(asset['href']).suffix.lower() in raster_suffixes())


def _local(text: str, path: Path, where: str) -> str:
    """A path that a file lists, taken from that file's folder; `file://` is one, too."""
    if '\0' in text:
        raise DataError(f'{path}, {where}: {text} is no path')
    if text.startswith('file:///'):
        text = unquote(urlsplit(text).path)
    if not is_local(text) or is_referring(text):
        raise DataError(
            f'{path}, {where}: {text} is an address or a virtual raster; those are read only where you name them '
            'yourself, on the command line'
        )
    return os.path.join(path.parent, text)


def _named(scene: str) -> ListedScene:
    text = scene.partition('?')[0].rstrip('/') if not is_local(scene) else scene
    name = PurePath(text.replace('"', '').replace(':', '/') if not is_local(scene) else text)
    return ListedScene(scene, name.stem or 'scene')


def _distinct(scenes: list[ListedScene]) -> list[ListedScene]:
    """Names by which no two are the same: with the folder where they are, with a number where that is not enough.

    Case does not tell two files apart everywhere, and neither do letters that no file's name has.
    """
    names = [_plain(one.name) for one in scenes]
    twice = [name for name in names if names.count(name) > 1]
    names = [
        _plain(f'{PurePath(one.scene).parent.name}-{name}') if name in twice else name
        for one, name in zip(scenes, names, strict=True)
    ]
    taken: set[str] = set()
    for index, name in enumerate(names):
        number = 2
        while names[index].casefold() in taken:
            names[index], number = f'{name}-{number}', number + 1
        taken.add(names[index].casefold())
    return [one._replace(name=name) for one, name in zip(scenes, names, strict=True)]


def _plain(name: str) -> str:
    text = ''.join(letter if letter.isalnum() or letter in '-_.+ ' else '_' for letter in name)
    return first_bytes(text.strip(' .'), _LONGEST).rstrip(' .') or '_'
