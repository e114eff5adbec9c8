"""Where published files are: places on the Hugging Face hub and addresses, and where the hub library caches them."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from rs2sam2.errors import CheckpointError
from rs2sam2.weights.files import PICKLE_SUFFIXES

SCHEME = 'hf:'
PLACE = re.compile(r'hf:(?://)?(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^/\s]+))?(?:/(?P<inside>\S(?:.*?\S)?))?/?')
# What a browser shows of the hub: a repository's page, or a folder's or file's.
HUBS = ('https://huggingface.co', 'https://hf.co')
PAGE = re.compile(r'/(?P<repo>[\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/(?P<revision>[^/]+)(?:/(?P<inside>.+?))?)?/?')
_NO_MODELS = ('datasets', 'spaces', 'api', 'docs')
# What the hub library takes for one.
_REPO = re.compile(r'(?!.*(?:--|\.\.))(?=.{3,96}$)\w(?:[\w.-]*\w)?/\w(?:[\w.-]*\w)?', re.ASCII)


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
        return f'{hub_constants().ENDPOINT}/{self.repo}/{kind}/{self.revision}/{self.inside}'.rstrip('/')


@dataclass(frozen=True)
class Address:
    """A file by its address.

    Attributes:
        page: http(s) address.
    """

    page: str

    def __str__(self) -> str:
        return self.page


def parse_place(text: str) -> HubPlace | Address | None:
    """Read `hf:user/repo[@revision][/folder]` or an http(s) address; None for anything else.

    The address of a repository's page on the hub, or of a folder or file there, means that repository.

    Raises:
        CheckpointError: it begins with `hf:` and names no repository, or with `http` and is no address.
    """
    if text.startswith(('http://', 'https://')):
        if not _is_address(text):
            raise CheckpointError(f'{text} is no address of a file: write it as https://host/path')
        return _on_hub(text) or Address(text)
    if not text.startswith(SCHEME):
        return None
    found = PLACE.fullmatch(text)
    inside = (found['inside'] or '') if found else ''
    if found is None or not _REPO.fullmatch(found['repo']) or '..' in PurePosixPath(inside).parts:
        raise CheckpointError(
            f'{text} names no repository: write hf:user/repo, hf:user/repo/folder or hf:user/repo@revision'
        )
    # As the hub writes it, refs%2Fpr%2F1 is a revision with slashes.
    return HubPlace(found['repo'], (found['revision'] or 'main').replace('%2F', '/'), inside)


def _is_address(text: str) -> bool:
    try:
        return bool(urlsplit(text).hostname) and urlsplit(text).port != 0 and text.isprintable() and ' ' not in text
    except ValueError:
        return False


def _on_hub(address: str) -> HubPlace | None:
    """What is meant by an address that is copied from the hub's pages; None for any other."""
    hubs = (os.environ.get('HF_ENDPOINT', '').rstrip('/'), *HUBS)
    hub = next((one for one in hubs if one and address.startswith(f'{one}/')), None)
    found = PAGE.fullmatch(urlsplit(address[len(hub) :]).path) if hub else None
    if found is None or not _REPO.fullmatch(found['repo']) or found['repo'].split('/')[0] in _NO_MODELS:
        return None
    if found['revision'] is None and found['repo'].endswith(('.safetensors', '.spm', *PICKLE_SUFFIXES)):
        return None  # a file by its plain address
    inside = unquote(found['inside'] or '')
    return (
        None
        if '..' in PurePosixPath(inside).parts
        else HubPlace(found['repo'], unquote(found['revision'] or 'main'), inside)
    )


def hub_constants() -> Any:
    """The hub library's settings: it reads the environment when it is imported, and importing it takes a second."""
    from huggingface_hub import constants

    return constants


def storage_of(place: HubPlace) -> Path:
    """The hub library's folder of a repository."""
    return Path(hub_constants().HF_HUB_CACHE) / f'models--{place.repo.replace("/", "--")}'


def address_file(place: Address) -> Path:
    """Where a file that was fetched by its address is kept."""
    name = PurePosixPath(place.page.split('?')[0]).name or 'file'
    folder = hashlib.sha256(place.page.encode()).hexdigest()[:12]
    return Path(hub_constants().HF_ASSETS_CACHE) / 'rs2sam2' / 'weights' / folder / name


def cache_of(place: HubPlace | Address) -> Path:
    """The folder that a place's files are kept in."""
    return address_file(place).parent if isinstance(place, Address) else Path(hub_constants().HF_HUB_CACHE)
