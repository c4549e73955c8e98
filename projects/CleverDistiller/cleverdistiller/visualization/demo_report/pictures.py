"""Pictures inside a page: as data URIs that are small enough to send around."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import BROKEN_IMAGE

BUDGET_BYTES = 4_000_000  # of all pictures, before base64 makes them a third larger
SIDES_PX = (2400, 2000, 1600, 1200, 900, 600)  # largest side of a picture, in the order they are tried


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture as text.

    Args:
        uri (str): ``data:image/...``.
        width (int): In pixels.
        height (int): In pixels.
    """

    uri: str
    width: int
    height: int


def embed_pictures(paths: Sequence[Path], budget_bytes: int = BUDGET_BYTES) -> list[EmbeddedPicture]:
    """Encode pictures anew, all at the largest size at which they fit into the budget together.

    Args:
        paths (Sequence[Path]): The files.
        budget_bytes (int): Of all pictures.

    Returns:
        list[EmbeddedPicture]: In the same order.

    Raises:
        InputError: If a file is missing or no picture, or if they do not fit even when small.
    """
    pictures = [_open(path) for path in paths]
    for side_px in SIDES_PX:
        encoded = [_encode(picture, side_px) for picture in pictures]
        if sum(len(data) for _, data, _ in encoded) <= budget_bytes:
            return [
                EmbeddedPicture(f'data:image/{kind};base64,{base64.b64encode(data).decode()}', *size)
                for kind, data, size in encoded
            ]
    raise InputError(
        f'{len(paths)} pictures of {budget_bytes:,} bytes together even at {SIDES_PX[-1]} pixels',
        'fewer pictures',
        'name fewer in demo.json',
    )


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise InputError(f'{path}, which is not a file', 'a picture that the demo left', 'start `make demo` again')
    try:
        with Image.open(path) as picture:
            return picture.convert('RGB')
    except BROKEN_IMAGE as error:
        raise InputError(
            f'{path}, which is no picture ({error})', 'a complete PNG or JPEG file', 'draw it again'
        ) from error


def _encode(picture: Image.Image, side_px: int) -> tuple[str, bytes, tuple[int, int]]:
    """Kind, content and size, as PNG or JPEG, whichever is smaller."""
    picture = picture.copy()
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    # Coloured dots on dark ground are the content: with the usual subsampling of colour they fade.
    options = dict(png={}, jpeg=dict(quality=85, subsampling=0))
    written = {}
    for kind, keys in options.items():
        buffer = io.BytesIO()
        picture.save(buffer, format=kind, **keys)
        written[kind] = buffer.getvalue()
    kind = min(written, key=lambda name: len(written[name]))
    return kind, written[kind], picture.size
