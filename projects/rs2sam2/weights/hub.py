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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rs2sam2.errors import CheckpointError
from rs2sam2.weights.choice import INDEX_SUFFIX, choose, family_of, shards_of
from rs2sam2.weights.hub_errors import by_hand, hub_errors
from rs2sam2.weights.places import Address, HubPlace, address_file, cache_of, hub_constants, storage_of

SHA256 = re.compile(r'[0-9a-f]{64}')
CHUNK = 1 << 16


class Fetched(NamedTuple):
    """Published files on this machine.

    Attributes:
        weights: the weights file, or the index of its shards.
        folder: where its tokenizer and description lie.
    """

    weights: Path
    folder: Path


def cached(place: HubPlace | Address) -> Fetched | None:
    """What is here already, without the network; None where a part is missing."""
    if isinstance(place, Address):
        file = address_file(place)
        return Fetched(file, file.parent) if file.is_file() else None
    storage = storage_of(place)
    ref = storage / 'refs' / place.revision
    snapshot = storage / 'snapshots' / (ref.read_text().strip() if ref.is_file() else place.revision)
    if not snapshot.is_dir():
        return None
    names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob('*') if path.is_file()]
    try:
        choice = choose(names, place)
        shards = shards_of(snapshot / choice.weights) if choice.weights.endswith(INDEX_SUFFIX) else ()
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
    if hub_constants().HF_HUB_OFFLINE:
        if here is not None:
            return here
        raise CheckpointError(
            f'{place} is not in the cache ({cache_of(place)}) and HF_HUB_OFFLINE is set; {by_hand(place, put)}'
        )
    with hub_errors(place, put):
        return _fetch_address(place, licence) if isinstance(place, Address) else _fetch_repository(place, licence)


def _fetch_repository(place: HubPlace, licence: str | None) -> Fetched:
    from huggingface_hub import HfApi

    info = HfApi(library_name='rs2sam2').model_info(place.repo, revision=place.revision, files_metadata=True)
    files = {one.rfilename: one for one in info.siblings or ()}
    choice = choose(files, place)
    size = sum(files[name].size or 0 for name in family_of(choice.weights, files))
    tell = partial(_tell, place, size, licence or _own_licence(info))
    # The weights come last: where they are, everything is.
    paths = [_fetch_file(place, name, files[name]) for name in choice.companions]
    paths.append(weights := _fetch_file(place, choice.weights, files[choice.weights], tell))
    if choice.weights.endswith(INDEX_SUFFIX):
        parent = PurePosixPath(choice.weights).parent
        for name in shards_of(weights):
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
        storage = storage_of(place)
        lock = storage.parent / '.locks' / storage.name / f'{meta.etag}.lock'
        headers = build_hf_headers(library_name='rs2sam2')
        file = storage / 'blobs' / meta.etag
        _download(url, file, lock, tell, headers, meta.size, sha256, f'{place.repo}/{name}')
    return Path(hf_hub_download(place.repo, name, revision=place.revision, library_name='rs2sam2'))


def _fetch_address(place: Address, licence: str | None) -> Fetched:
    from huggingface_hub.utils import get_session, hf_raise_for_status

    answer = get_session().head(place.page, follow_redirects=True, timeout=hub_constants().HF_HUB_ETAG_TIMEOUT)
    hf_raise_for_status(answer)
    length = answer.headers.get('Content-Length')
    size = int(length) if length and length.isdigit() else None
    file = address_file(place)
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
        if _is_here(path, size, stamp):
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
        if stamp:
            _version_file(path).write_text(stamp)


def _is_here(path: Path, size: int | None, stamp: str) -> bool:
    """Whether a file is here, whole, and as it is published: its name says so on the hub, a stamp elsewhere."""
    if not path.is_file() or size not in (None, path.stat().st_size):
        return False
    version = _version_file(path)
    return not stamp or (version.is_file() and version.read_text() == stamp)


def _version_file(path: Path) -> Path:
    return path.with_name(f'.{path.name}.version')


@contextlib.contextmanager
def _small_chunks() -> Iterator[None]:
    # A chunk that is not whole when the connection breaks is lost, and the hub library's have 10 MB.
    constants = hub_constants()
    usual, constants.DOWNLOAD_CHUNK_SIZE = constants.DOWNLOAD_CHUNK_SIZE, CHUNK
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = usual


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
