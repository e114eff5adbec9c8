"""Which files of the server a client may name as a scene."""

import os
from collections.abc import Sequence
from pathlib import Path

from rs2sam2.errors import DataError
from rs2sam2.geo.sources import TIFF, RasterSource, find_source

# Their pixels are in the file itself: of other formats a header may name any file or address.
_SELF_CONTAINED = {*TIFF, 'PNG', 'JPEG', 'JP2OpenJPEG', 'JP2ECW', 'JP2KAK', 'JP2MrSID', 'JP2Lura'}


class ForbiddenPathError(DataError):
    """A path that the server may not read, or must not say anything about."""


def allowed_scene(given: str, roots: Sequence[Path], place: str | None = None) -> RasterSource:
    """The raster that a client names by a path below one of the folders, links followed.

    What lies elsewhere is refused in the same words whether it is there or not.

    Args:
        given: absolute, or relative to one of the folders.
        roots: the folders.
        place: the file that it stood for before, in its stead; what is said names what the client gave.

    Raises:
        ForbiddenPathError: it lies elsewhere.
        DataError: it is missing, or of a kind that may name other files.
    """
    if not roots:
        raise ForbiddenPathError('this server reads no paths: upload the scene, or start the server with --root FOLDER')
    resolved = [Path(os.path.realpath(root)) for root in roots]
    try:
        places = [Path(os.path.realpath(root / (place or given))) for root in resolved]
    except (ValueError, OSError) as error:
        raise ForbiddenPathError(f'{given[:200]} is no path') from error
    inside = [one for one in places if any(one.is_relative_to(root) for root in resolved)]
    if not inside:
        raise ForbiddenPathError(f'{given[:200]} is not below a folder that this server may read')
    # Unlike pathlib's, this is no error for a name that is too long.
    found = next(filter(os.path.isfile, inside), None)
    if found is None:
        raise DataError(f'{given[:200]} is no file')
    source = find_source(found)._replace(given=given)
    if source.drivers is None or not _SELF_CONTAINED.issuperset(source.drivers):
        raise DataError(
            f'{given[:200]} is of a kind that may name other files or addresses: name a GeoTIFF, JPEG 2000, PNG or JPEG'
        )
    return source
