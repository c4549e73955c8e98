from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete

CACHE_FILE = 'cache.json'
TOOL = 'tools/cache_teacher.py'
BYTES = dict(float32=4, float16=2, int8=1)
MEASURED = ('tensors', 'relative_error', 'basis_sha256')  # follow from the rest


@dataclass(frozen=True)
class CacheRecord:
    """What made a cache of teacher features: its ``cache.json``.

    Args:
        teacher (dict): Its class, options and the SHA-256 of its weights (``teacher_identity``).
        preprocessing (dict): How an image becomes the teacher's input.
        features (list[str]): What was asked of the teacher: ``patches``, ``block_-2``, ``class_token``.
        form (str): One of ``forms.FORMS``.
        components (int | None): Of ``pca``.
        shard_size (int): Images a shard; the last has fewer.
        batch_size (int): Images that the teacher saw at once; batches do not cross shards.
        device (str): Where it ran: on CUDA in half precision, on a CPU in float32.
        versions (dict): Of the packages that its numbers depend on.
        images (list[str]): Relative to the data root, in the order of the shards' rows.
        tensors (dict): Name to ``dtype`` and ``shape`` of what is kept of one image.
        relative_error (dict): Name to the mean of |kept - said| / |said| over tokens of a seeded sample of images.
        basis_sha256 (str | None): Of ``basis.safetensors``, which ``pca`` has.
    """

    teacher: dict
    preprocessing: dict
    features: list[str]
    form: str
    components: int | None
    shard_size: int
    batch_size: int
    device: str
    versions: dict
    images: list[str]
    tensors: dict = field(default_factory=dict)
    relative_error: dict = field(default_factory=dict)
    basis_sha256: str | None = None

    @staticmethod
    def read(folder: str | Path) -> CacheRecord:
        """Read a cache's record.

        Raises:
            InputError: If there is none, or it is damaged.
        """
        path = Path(folder) / CACHE_FILE
        expected = f'a folder that {TOOL} has written'
        try:
            return CacheRecord(**json.loads(path.read_text()))
        except OSError as error:
            raise InputError(
                f'{path}, which cannot be read ({error.strerror})', expected, f'python {TOOL} CONFIG --out {folder}'
            ) from error
        except (ValueError, TypeError) as error:  # no JSON, or not these fields
            raise InputError(
                f'{path}, which is damaged or of another version ({error})', expected, 'make the cache again'
            ) from error

    def write(self, folder: str | Path) -> None:
        """Write it, whole or not at all."""
        with replace_when_complete(Path(folder) / CACHE_FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + '\n')

    @cached_property
    def cache_id(self) -> str:
        """A name of the cache's content, which its shards carry, too."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]

    @property
    def num_shards(self) -> int:
        return math.ceil(len(self.images) / self.shard_size)

    @property
    def bytes_per_image(self) -> int:
        """Of features, on the disk."""
        return sum(BYTES[kept['dtype']] * math.prod(kept['shape']) for kept in self.tensors.values())

    def images_of(self, shard: int) -> list[str]:
        """The rows of a shard."""
        return self.images[shard * self.shard_size : (shard + 1) * self.shard_size]

    def told(self) -> str:
        """Form and error, in words."""
        errors = ', '.join(f'{name} {error:.2g}' for name, error in self.relative_error.items())
        components = f' of {self.components} components' if self.components else ''
        return f'{len(self.images)} images as {self.form}{components}, relative error {errors}'

    def check(self, teacher: Mapping, folder: str | Path) -> None:
        """Refuse to serve another teacher than the one that made the cache.

        Args:
            teacher (Mapping): Identity of the teacher that a config asks for.
            folder (str | Path): Where the cache is, for the message.

        Raises:
            InputError: It names every option that differs.
        """
        _refuse_differences(
            self.teacher,
            teacher,
            f'the cache {folder} of a teacher with',
            f'run {TOOL} with this config, into another folder, or give the config that teacher',
        )

    def check_resumed(self, wanted: CacheRecord, folder: str | Path) -> None:
        """Refuse to go on writing a cache that was begun otherwise.

        Args:
            wanted (CacheRecord): What is to be written now; what is ``MEASURED`` does not count.
            folder (str | Path): Where the cache is, for the message.

        Raises:
            InputError: It names everything that differs.
        """
        _refuse_differences(
            self._asked(),
            wanted._asked(),
            f'the cache {folder}, begun with',
            'give the arguments it was begun with, or another --out',
        )

    def _asked(self) -> dict:
        """What was asked for, the list of images as a number and a hash."""
        asked = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*MEASURED, 'images')}
        digest = hashlib.sha256('\n'.join(self.images).encode()).hexdigest()[:8]
        return dict(asked, images=f'{len(self.images)} (list {digest})')


def _refuse_differences(have: Mapping, want: Mapping, owner: str, remedy: str) -> None:
    have, want = _flat(have), _flat(want)
    names = [name for name in sorted(have.keys() | want.keys()) if have.get(name) != want.get(name)]
    if names:
        raise InputError(
            f'{owner} {", ".join(f"{name}={have.get(name)!r}" for name in names)}',
            ', '.join(f'{name}={want.get(name)!r}' for name in names),
            remedy,
        )


def _flat(mapping: Mapping, prefix: str = '') -> dict:
    """Nested keys joined by dots."""
    found = {}
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f'{prefix}{name}.'))
        else:
            found[prefix + name] = value
    return found
