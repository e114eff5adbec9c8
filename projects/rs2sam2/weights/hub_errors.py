"""What the network and the disk can do while files are fetched or pushed, each in one line with the way out."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rs2sam2.errors import CheckpointError
from rs2sam2.weights.places import Address, HubPlace, cache_of


@contextlib.contextmanager
def hub_errors(place: HubPlace | Address, put: str | Path | None) -> Iterator[None]:
    """Turn what the network and the disk can do into one line with the way out."""
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f'{error}; {by_hand(place, put)}') from None
    except errors.GatedRepoError:
        raise CheckpointError(
            f'{place} is given only to who asked for it: ask at {place.page} and log in (hf auth login, or HF_TOKEN); '
            f'{by_hand(place, put)}'
        ) from None
    except errors.RevisionNotFoundError:
        assert isinstance(place, HubPlace)  # an address has no revisions
        raise CheckpointError(f'{place.repo} has no revision {place.revision}; {by_hand(place, put)}') from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        meaning = {401: 'there is none of that name, or it asks for a login (hf auth login, or HF_TOKEN)',
                   403: 'the login is not allowed to read it', 404: 'there is none of that name'}.get(
            code, 'the server fails, try again later')  # fmt: skip
        raise CheckpointError(f'{place} cannot be fetched (HTTP {code}): {meaning}; {by_hand(place, put)}') from None
    except (errors.HTTPError, errors.FileMetadataError, errors.EntryNotFoundError) as error:
        raise CheckpointError(
            f'{place} cannot be fetched, no connection to a hub ({_short(error)}); what came is kept and the next try '
            f'goes on from it; {by_hand(place, put)}'
        ) from None
    except OSError as error:
        what = 'was broken off' if error.errno is None else f'cannot be kept in {cache_of(place)}'
        raise CheckpointError(f'{place} {what} ({error.strerror or _short(error)}); {by_hand(place, put)}') from None


def by_hand(place: HubPlace | Address, put: str | Path | None) -> str:
    """How to get files without this program, for the end of an error."""
    where = f'put it at {put}' if put else 'name the file or folder where you put it'
    return f'by hand: get it from {place.page} and {where}'


def _short(error: Exception) -> str:
    return ' '.join(str(error).split())[:120] or type(error).__name__
