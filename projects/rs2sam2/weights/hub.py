"""Fetch published files once: from the Hugging Face hub, or by their address; kept in the hub library's own cache.

`HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean everywhere. What is in the cache is used
without asking the network. The hub library keeps no part of a file when a download breaks off; here the part stays in
the cache, the next try goes on from it, and a file takes its name only when its hash is the published one.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rs2sam2.errors import CheckpointError
from rs2sam2.json_text import parse_json
from rs2sam2.weights.files import FOLDER_FILES, PICKLE_SUFFIXES

SCHEME = 'hf:'
PLACE = re.compile(r'hf:(?://)?(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^/\s]+))?(?:/(?P<inside>\S+?))?/?')
SHA256 = re.compile(r'[0-9a-f]{64}')
# What a folder may hold beside its weights that a model needs: its description and its tokenizer.
COMPANIONS = (
    'bundle.json',
    'config.json',
    'sentencepiece.bpe.model',
    'beit3.spm',
    'spiece.model',
    'tokenizer.model',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
    'vocab.json',
    'vocab.txt',
    'merges.txt',
)
# Pickles of training that lie beside weights.
NO_WEIGHTS = re.compile(r'(training_args|optimizer|scheduler|scaler|rng_state|random_states)[\w.-]*')
TOKENIZER = 'tokenizer'
INDEX_SUFFIX = '.index.json'
CHUNK = 1 << 16


class Fetched(NamedTuple):
    """Published files on this machine.

    Attributes:
        weights: the weights file, or the index of its shards.
        folder: where its tokenizer and description lie.
    """

    weights: Path
    folder: Path


@dataclass(frozen=True)
class HubPlace:
    """`hf:user/repo[@revision][/folder or file]`.

    Attributes:
        repo: user/repo.
        revision: branch, tag or commit.
        inside: folder or file in the repository; '' for all of it.
    """

    repo: str
    revision: str = 'main'
    inside: str = ''

    def __str__(self) -> str:
        revision = '' if self.revision == 'main' else f'@{self.revision}'
        return f'{SCHEME}{self.repo}{revision}{"/" + self.inside if self.inside else ""}'

    @property
    def page(self) -> str:
        """Where a browser finds the files."""
        is_file = self.inside.endswith(('.safetensors', *PICKLE_SUFFIXES))
        kind = 'resolve' if is_file else 'tree'
        return f'{_constants().ENDPOINT}/{self.repo}/{kind}/{self.revision}/{self.inside}'.rstrip('/')


@dataclass(frozen=True)
class Address:
    """A file by its address.

    Attributes:
        page: http(s) address.
    """

    page: str

    def __str__(self) -> str:
        return self.page


class _Choice(NamedTuple):
    weights: str
    companions: tuple[str, ...]


def parse_place(text: str) -> HubPlace | Address | None:
    """Read `hf:user/repo[@revision][/folder]` or an http(s) address; None for anything else.

    Raises:
        CheckpointError: it begins with `hf:` and names no repository.
    """
    if text.startswith(('http://', 'https://')):
        return Address(text)
    if not text.startswith(SCHEME):
        return None
    found = PLACE.fullmatch(text)
    inside = (found['inside'] or '') if found else ''
    if found is None or '..' in PurePosixPath(inside).parts:
        raise CheckpointError(
            f'{text} names no repository: write hf:user/repo, hf:user/repo/folder or hf:user/repo@revision'
        )
    # As the hub writes it, refs%2Fpr%2F1 is a revision with slashes.
    return HubPlace(found['repo'], (found['revision'] or 'main').replace('%2F', '/'), inside)


def cached(place: HubPlace | Address) -> Fetched | None:
    """What is here already, without the network; None where a part is missing."""
    if isinstance(place, Address):
        file = _address_file(place)
        return Fetched(file, file.parent) if file.is_file() else None
    storage = _storage(place)
    ref = storage / 'refs' / place.revision
    snapshot = storage / 'snapshots' / (ref.read_text().strip() if ref.is_file() else place.revision)
    if not snapshot.is_dir():
        return None
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob('*') if path.is_file()]
    try:
        choice = _choose(names, place)
        shards = _shards(snapshot / choice.weights) if choice.weights.endswith(INDEX_SUFFIX) else ()
    except CheckpointError:
        return None
    weights = snapshot / choice.weights
    return Fetched(weights, weights.parent) if all((weights.parent / name).is_file() for name in shards) else None


def fetch(
    place: HubPlace | Address, put: str | Path | None = None, licence: str | None = None, newest: bool = False
) -> Fetched:
    """Give published files, from the cache or from the network.

    Args:
        place: where they are published.
        put: where the caller looks for files that were fetched by hand; the error names it.
        licence: what is known of it; else the repository's own word is told.
        newest: ask the network although the files are here.

    Raises:
        CheckpointError: they are not to be had, or a file is not the published one. One line says how to get them by
            hand.
    """
    here = cached(place)
    if here is not None and not newest:
        return here
    if _constants().HF_HUB_OFFLINE:
        if here is not None:
            return here
        raise CheckpointError(
            f'{place} is not in the cache ({_cache(place)}) and HF_HUB_OFFLINE is set; {_by_hand(place, put)}'
        )
    with hub_errors(place, put):
        return _fetch_address(place, licence) if isinstance(place, Address) else _fetch_repository(place, licence)


def _fetch_repository(place: HubPlace, licence: str | None) -> Fetched:
    from huggingface_hub import HfApi

    info = HfApi(library_name='rs2sam2').model_info(place.repo, revision=place.revision, files_metadata=True)
    files = {one.rfilename: one for one in info.siblings or ()}
    choice = _choose(files, place)
    size = sum(files[name].size or 0 for name in _family(choice.weights, files))
    tell = partial(_tell, place, size, licence or _own_licence(info))
    # The weights come last: where they are, everything is.
    paths = [_fetch_file(place, name, files[name]) for name in choice.companions]
    paths.append(weights := _fetch_file(place, choice.weights, files[choice.weights], tell))
    if choice.weights.endswith(INDEX_SUFFIX):
        parent = PurePosixPath(choice.weights).parent
        for name in _shards(weights):
            shard = (parent / name).as_posix()
            if shard not in files:
                raise CheckpointError(
                    f'{place} is not whole: {choice.weights} names {name}, which the repository lacks'
                )
            paths.append(_fetch_file(place, shard, files[shard]))
    if len({path.parent for path in paths if path.parent == weights.parent}) != 1:
        raise CheckpointError(f'{place} was changed while it was fetched: try again')
    return Fetched(weights, weights.parent)


def _fetch_file(place: HubPlace, name: str, listed, tell: Callable[[], None] = lambda: None) -> Path:
    """One file of a repository, whole and with the published hash, under the hub library's own name in its cache."""
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(place.repo, name, revision=place.revision)
    meta = get_hf_file_metadata(url, token=get_token() or False, library_name='rs2sam2')
    if meta.etag and re.fullmatch(r'[\w.-]+', meta.etag):
        sha256 = listed.lfs.sha256 if listed.lfs else None
        sha256 = sha256 or (meta.etag if SHA256.fullmatch(meta.etag) else None)
        storage = _storage(place)
        lock = storage.parent / '.locks' / storage.name / f'{meta.etag}.lock'
        headers = build_hf_headers(library_name='rs2sam2')
        file = storage / 'blobs' / meta.etag
        _download(url, file, lock, tell, headers, meta.size, sha256, f'{place.repo}/{name}')
    return Path(hf_hub_download(place.repo, name, revision=place.revision, library_name='rs2sam2'))


def _fetch_address(place: Address, licence: str | None) -> Fetched:
    from huggingface_hub.utils import get_session, hf_raise_for_status

    answer = get_session().head(place.page, follow_redirects=True, timeout=_constants().HF_HUB_ETAG_TIMEOUT)
    hf_raise_for_status(answer)
    length = answer.headers.get('Content-Length')
    size = int(length) if length and length.isdigit() else None
    file = _address_file(place)
    tell = partial(_tell, place, size or 0, licence)
    stamp = answer.headers.get('ETag') or answer.headers.get('Last-Modified') or ''
    _download(place.page, file, file.with_name(f'.{file.name}.lock'), tell, {}, size, None, file.name, stamp)
    return Fetched(file, file.parent)


def _download(
    url: str,
    path: Path,
    lock: Path,
    tell: Callable[[], None],
    headers: dict,
    size: int | None,
    sha256: str | None,
    label: str,
    stamp: str = '',
) -> None:
    """Fetch to `path`, going on from what an earlier try left; processes that want the same file wait for one."""
    from filelock import FileLock
    from huggingface_hub.file_download import http_get

    path.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    # What belongs to another version of the file is not gone on from.
    version = hashlib.sha256(stamp.encode()).hexdigest()[:8]
    part = path.with_name(f'{path.name}.{version}.incomplete')
    with FileLock(lock):
        if path.is_file():
            return
        tell()
        if size is not None and part.is_file() and part.stat().st_size > size:
            part.unlink()
        with part.open('ab') as file:
            left = (size or 0) - file.tell()
            if left > shutil.disk_usage(part.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.parent))
            with _small_chunks():
                http_get(
                    url, file, resume_size=file.tell(), headers=headers, expected_size=size, displayed_filename=label
                )
        if sha256 is not None and (found := _sha256(part)) != sha256:
            part.unlink()
            raise CheckpointError(
                f'{url} is not the published file: its sha256 is {found[:12]}..., not {sha256[:12]}...'
            )
        os.replace(part, path)


@contextlib.contextmanager
def _small_chunks() -> Iterator[None]:
    # A chunk that is not whole when the connection breaks is lost, and the hub library's have 10 MB.
    constants = _constants()
    usual, constants.DOWNLOAD_CHUNK_SIZE = constants.DOWNLOAD_CHUNK_SIZE, CHUNK
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = usual


def _choose(names: Iterable[str], place: HubPlace) -> _Choice:
    """The weights of a place in any form that `open_state_dict` reads, and what lies beside them."""
    names = sorted(names)
    if place.inside in names:
        return _Choice(place.inside, ())
    folders: dict[str, list[str]] = {}
    for name in names:
        parent, _, file = name.rpartition('/')
        folders.setdefault(parent, []).append(file)
    inside = [folder for folder in folders if not place.inside or f'{folder}/'.startswith(f'{place.inside}/')]
    if not inside:
        has = sorted(filter(None, folders)) or names[:8]
        raise CheckpointError(f'{place.repo} has no {place.inside}; it has {", ".join(has) or "nothing"}')
    found = {folder: weights for folder in inside if (weights := weights_among(folders[folder]))}
    folder = place.inside if place.inside in found else next(iter(found), None)
    if folder is None:
        raise CheckpointError(
            f'{place} holds no weights: expected {", ".join(FOLDER_FILES)}, or one other weights file'
        )
    if folder != place.inside and len(found) > 1:
        several = ', '.join(f'{SCHEME}{place.repo}/{one}' for one in found)
        raise CheckpointError(f'{place} holds several models: name one of {several}')
    if len(found[folder]) > 1:
        several = ', '.join(f'{SCHEME}{place.repo}/{folder}/{one}'.replace('//', '/') for one in found[folder][:6])
        raise CheckpointError(f'{place} holds several weights files: name one of {several}')
    prefix = f'{folder}/' if folder else ''
    beside = [prefix + name for name in COMPANIONS if name in folders[folder]]
    # A bundle keeps its tokenizer in a folder of its own.
    beside += [f'{prefix}{TOKENIZER}/{name}' for name in folders.get(prefix + TOKENIZER, ()) if name in COMPANIONS]
    return _Choice(prefix + found[folder][0], tuple(beside))


def weights_among(files: Iterable[str]) -> list[str]:
    """Which of a folder's files are its weights: one of the standard names, else what else can be; several or none."""
    files = sorted(files)
    if standard := next((name for name in FOLDER_FILES if name in files), None):
        return [standard]
    for suffixes in (('.safetensors',), PICKLE_SUFFIXES):
        if fitting := [name for name in files if name.endswith(suffixes) and not NO_WEIGHTS.fullmatch(name)]:
            return fitting
    return []


def _shards(index: Path) -> list[str]:
    """Files that an index of shards names."""
    try:
        names = sorted(set(parse_json(index.read_bytes())['weight_map'].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f'{index} is no index of shards: fetch it anew') from None
    if outside := [name for name in names if not isinstance(name, str) or '/' in name or '\\' in name]:
        raise CheckpointError(f'{index} names {outside[0]!r}, which lies outside its folder')
    return names


def _family(weights: str, files: Iterable[str]) -> list[str]:
    """The files that a weights file stands for: itself, or its shards."""
    if not weights.endswith(INDEX_SUFFIX):
        return [weights]
    stem, suffix = weights.removesuffix(INDEX_SUFFIX).rsplit('.', 1)
    return [name for name in files if name.startswith(f'{stem}-') and name.endswith(f'.{suffix}')]


@contextlib.contextmanager
def hub_errors(place: HubPlace | Address, put: str | Path | None) -> Iterator[None]:
    """Turn what the network and the disk can do into one line with the way out."""
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f'{error}; {_by_hand(place, put)}') from None
    except errors.GatedRepoError:
        raise CheckpointError(
            f'{place} is given only to who asked for it: ask at {place.page} and log in (hf auth login, or HF_TOKEN); '
            f'{_by_hand(place, put)}'
        ) from None
    except errors.RevisionNotFoundError:
        raise CheckpointError(f'{place.repo} has no revision {place.revision}; {_by_hand(place, put)}') from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        meaning = {401: 'there is none of that name, or it asks for a login (hf auth login, or HF_TOKEN)',
                   403: 'the login is not allowed to read it', 404: 'there is none of that name'}.get(
            code, 'the server fails, try again later')  # fmt: skip
        raise CheckpointError(f'{place} cannot be fetched (HTTP {code}): {meaning}; {_by_hand(place, put)}') from None
    except (errors.HTTPError, errors.FileMetadataError, errors.EntryNotFoundError) as error:
        raise CheckpointError(
            f'{place} cannot be fetched, no connection to a hub ({_short(error)}); what came is kept and the next try '
            f'goes on from it; {_by_hand(place, put)}'
        ) from None
    except OSError as error:
        what = 'was broken off' if error.errno is None else f'cannot be kept in {_cache(place)}'
        raise CheckpointError(f'{place} {what} ({error.strerror or _short(error)}); {_by_hand(place, put)}') from None


def _short(error: Exception) -> str:
    return ' '.join(str(error).split())[:120] or type(error).__name__


def _by_hand(place: HubPlace | Address, put: str | Path | None) -> str:
    where = f'put it at {put}' if put else 'name the file or folder where you put it'
    return f'by hand: get it from {place.page} and {where}'


def _tell(place: HubPlace | Address, size: int, licence: str | None) -> None:
    amount = f'{size / 1e9:.2f} GB, ' if size >= 1e7 else f'{size / 1e6:.1f} MB, ' if size else ''
    print(f'fetching {place} ({amount}licence: {licence or "none stated"})', file=sys.stderr, flush=True)


def _own_licence(info) -> str | None:
    card = info.card_data
    return card.get('license') if card else None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _constants():
    # The hub library reads the environment when it is imported, and importing it takes a second.
    from huggingface_hub import constants

    return constants


def _storage(place: HubPlace) -> Path:
    return Path(_constants().HF_HUB_CACHE) / f'models--{place.repo.replace("/", "--")}'


def _address_file(place: Address) -> Path:
    name = PurePosixPath(place.page.split('?')[0]).name or 'file'
    folder = hashlib.sha256(place.page.encode()).hexdigest()[:12]
    return Path(_constants().HF_ASSETS_CACHE) / 'rs2sam2' / 'weights' / folder / name


def _cache(place: HubPlace | Address) -> Path:
    return _address_file(place).parent if isinstance(place, Address) else Path(_constants().HF_HUB_CACHE)
