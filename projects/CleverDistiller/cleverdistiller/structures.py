"""What crosses a module border: frozen dataclasses that check themselves.

Glossary of the shape letters used in every signature:
    B scans in a batch, V camera images in a batch (all scans together), N points, M voxels,
    P point-pixel pairs, Q occupancy queries, S query-support pairs,
    D teacher width, C student width, h x w patches, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from cleverdistiller.errors import InputError

T = TypeVar('T', bound='_Tensors')


def rows_and_columns(value: Sequence[int], option: str) -> tuple[int, int]:
    """Check the size of an image.

    Args:
        value (Sequence[int]): Rows and columns in pixels, as a config gives them.
        option (str): What the config calls them, for the message.

    Returns:
        tuple[int, int]: The same.

    Raises:
        InputError: If they are not two whole numbers above 0.
    """
    pair = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise InputError(
            f'{option}={value!r}', 'two whole numbers above 0, rows and columns', f'such as {option}=(224, 448)'
        )
    return pair


@dataclass(frozen=True)
class _Tensors:
    """A dataclass whose tensors move together."""

    def to(self: T, device: torch.device, non_blocking: bool = False) -> T:
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=non_blocking)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def pin_memory(self: T) -> T:
        """Called by a DataLoader with ``pin_memory=True``."""
        pinned = {
            f.name: getattr(self, f.name).pin_memory()
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **pinned)

    def _check(self, name: str, shape: tuple, dtype: torch.dtype) -> None:
        """Compare one field with a shape (letters stand for any size) and a dtype."""
        tensor = getattr(self, name)
        fits = tensor.dim() == len(shape) and all(
            isinstance(want, str) or have == want for have, want in zip(tensor.shape, shape)
        )
        if not fits or tensor.dtype != dtype:
            raise ValueError(
                f'{type(self).__name__}.{name}: got {tuple(tensor.shape)} {tensor.dtype}, expected {shape} {dtype}'
            )


@dataclass(frozen=True)
class PointPixelPairs(_Tensors):
    """Points seen by cameras: one row per (point, camera image), never averaged.

    Args:
        point_index (Tensor): (P,) int64, row of the point in its cloud.
        image_index (Tensor): (P,) int64, row of the image among the cloud's images.
        uv_px (Tensor): (P, 2) float32, column and row in pixels of the *network input* image.
    """

    point_index: Tensor
    image_index: Tensor
    uv_px: Tensor

    def __post_init__(self) -> None:
        rows = len(self.point_index)
        self._check('point_index', (rows,), torch.int64)
        self._check('image_index', (rows,), torch.int64)
        self._check('uv_px', (rows, 2), torch.float32)

    def __len__(self) -> int:
        return len(self.point_index)

    def select(self, keep: Tensor) -> PointPixelPairs:
        """Keep the rows of a boolean mask (P,)."""
        return PointPixelPairs(self.point_index[keep], self.image_index[keep], self.uv_px[keep])

    @staticmethod
    def collate(
        scans: Sequence[PointPixelPairs], num_points: Sequence[int], num_images: Sequence[int]
    ) -> PointPixelPairs:
        """Join scans whose points and images are concatenated in the same order."""
        point_offsets, image_offsets = _offsets(num_points), _offsets(num_images)
        return PointPixelPairs(
            torch.cat([s.point_index + o for s, o in zip(scans, point_offsets)]),
            torch.cat([s.image_index + o for s, o in zip(scans, image_offsets)]),
            torch.cat([s.uv_px for s in scans]),
        )


@dataclass(frozen=True)
class OccupancyQueries(_Tensors):
    """Positions known to be empty or filled, and the input points that must explain them.

    Args:
        position_lidar_m (Tensor): (Q, 3) float32, metres.
        occupied (Tensor): (Q,) float32, 1 behind a surface, 0 in front of it.
        intensity (Tensor): (Q,) float32, intensity of the surface point, -1 where there is none.
        support_query (Tensor): (S,) int64, row of the query.
        support_point (Tensor): (S,) int64, row of the supporting point in its cloud.
    """

    position_lidar_m: Tensor
    occupied: Tensor
    intensity: Tensor
    support_query: Tensor
    support_point: Tensor

    def __post_init__(self) -> None:
        queries, support = len(self.position_lidar_m), len(self.support_query)
        self._check('position_lidar_m', (queries, 3), torch.float32)
        self._check('occupied', (queries,), torch.float32)
        self._check('intensity', (queries,), torch.float32)
        self._check('support_query', (support,), torch.int64)
        self._check('support_point', (support,), torch.int64)

    def __len__(self) -> int:
        return len(self.position_lidar_m)

    @staticmethod
    def collate(scans: Sequence[OccupancyQueries], num_points: Sequence[int]) -> OccupancyQueries:
        """Join scans whose points are concatenated in the same order."""
        query_offsets, point_offsets = _offsets([len(s) for s in scans]), _offsets(num_points)
        return OccupancyQueries(
            torch.cat([s.position_lidar_m for s in scans]),
            torch.cat([s.occupied for s in scans]),
            torch.cat([s.intensity for s in scans]),
            torch.cat([s.support_query + o for s, o in zip(scans, query_offsets)]),
            torch.cat([s.support_point + o for s, o in zip(scans, point_offsets)]),
        )


@dataclass(frozen=True)
class VoxelGrid(_Tensors):
    """A batch of voxelised clouds, what every student eats.

    Args:
        features (Tensor): (M, 3 + c) float32, the representative point's position in metres and its
            c further channels (intensity in 0..1).
        coords (Tensor): (M, 4) int32, batch row and grid cell (b, x, y, z), each row once.
        point_to_voxel (Tensor): (N,) int64, the voxel of each point.
        representative (Tensor): (M,) int64, the point that gave the voxel its features.
        batch_size (int): Number of clouds.
    """

    features: Tensor
    coords: Tensor
    point_to_voxel: Tensor
    representative: Tensor
    batch_size: int

    def __post_init__(self) -> None:
        voxels = len(self.coords)
        self._check('features', (voxels, 'channels'), torch.float32)
        self._check('coords', (voxels, 4), torch.int32)
        self._check('point_to_voxel', ('N',), torch.int64)
        self._check('representative', (voxels,), torch.int64)

    def __len__(self) -> int:
        return len(self.coords)


@dataclass(frozen=True)
class ScanInputs:
    """One preprocessed batch of scans.

    Args:
        points (Tensor): (N, 3 + c) float32, all clouds, metres and further channels.
        cloud_index (Tensor): (N,) int64, which cloud a point belongs to. Mix3D makes one cloud of two scans.
        scan_sizes (tuple[int, ...]): Points of each scan, in order; sums to N.
        voxels (VoxelGrid): The same points on the grid.
    """

    points: Tensor
    cloud_index: Tensor
    scan_sizes: tuple[int, ...]
    voxels: VoxelGrid


@dataclass(frozen=True)
class DistillationInputs(ScanInputs):
    """What a distiller eats.

    Args:
        images (Tensor | None): (V, 3, H, W) float32 RGB in 0..1, None where no teacher is asked.
        teacher_features (TeacherFeatures | None): Of the V images, float16, where they were loaded in their place.
        images_per_scan (tuple[int, ...]): Images of each scan, in order; sums to V.
        pairs (PointPixelPairs | None): Over all N points and V images.
        queries (OccupancyQueries | None): Over all N points.
        superpixels (Tensor | None): (V, H, W) uint8, ids in each image; None where they were not loaded.
        next_voxels (VoxelGrid | None): The next keyframes, each about its own sensor, one cloud for each scan and
            never mixed; None where they were not loaded or no scan has one.
        temporal_pairs (Tensor | None): (P, 2) int64, rows of a point and of a next keyframe's point that lie on each
            other, over all scans; None where next keyframes were not loaded.
    """

    images: Tensor | None = None
    teacher_features: TeacherFeatures | None = None
    images_per_scan: tuple[int, ...] = ()
    pairs: PointPixelPairs | None = None
    queries: OccupancyQueries | None = None
    superpixels: Tensor | None = None
    next_voxels: VoxelGrid | None = None
    temporal_pairs: Tensor | None = None

    @property
    def num_images(self) -> int:
        """V, whether their pixels or their features were loaded."""
        return sum(self.images_per_scan)


@dataclass(frozen=True)
class TeacherFeatures:
    """What a teacher says of a batch of images, or of one scan's images.

    Args:
        patches (Tensor): (V, D, h, w), of the block that the teacher was built for.
        blocks (Mapping[int, Tensor]): (V, D, h, w) of each further block that was asked for.
        class_token (Tensor | None): (V, D), the last block's, after the final LayerNorm; None where nobody asked.
        cache_id (str | None): Which cache they were read from; None where a teacher has just looked.
    """

    patches: Tensor
    blocks: Mapping[int, Tensor]
    class_token: Tensor | None = None
    cache_id: str | None = None

    def __len__(self) -> int:
        return len(self.patches)

    def named(self) -> dict[str, Tensor]:
        """Every tensor under a name of its own: ``patches``, ``block_-2``, ``class_token``."""
        token = {} if self.class_token is None else {'class_token': self.class_token}
        return {'patches': self.patches, **{f'block_{block}': maps for block, maps in self.blocks.items()}, **token}

    @staticmethod
    def from_named(tensors: Mapping[str, Tensor], cache_id: str | None = None) -> TeacherFeatures:
        """What :meth:`named` gave, put together again."""
        prefix = 'block_'
        blocks = {int(name.removeprefix(prefix)): maps for name, maps in tensors.items() if name.startswith(prefix)}
        return TeacherFeatures(tensors['patches'], blocks, tensors.get('class_token'), cache_id)

    def half(self) -> TeacherFeatures:
        """Rounded to float16."""
        return self._each(Tensor.half)

    def to(self, device: torch.device, non_blocking: bool = False) -> TeacherFeatures:
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TeacherFeatures:
        """Called by a DataLoader with ``pin_memory=True``."""
        return self._each(Tensor.pin_memory)

    @staticmethod
    def collate(scans: Sequence[TeacherFeatures]) -> TeacherFeatures:
        """Join scans whose images are concatenated in the same order; they have the same blocks and token."""
        tensors = [scan.named() for scan in scans]
        ids = sorted({str(scan.cache_id) for scan in scans})  # of several caches: an id that no teacher accepts
        return TeacherFeatures.from_named(
            {name: torch.cat([named[name] for named in tensors]) for name in tensors[0]}, ' and '.join(ids)
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> TeacherFeatures:
        return self.from_named({name: change(tensor) for name, tensor in self.named().items()}, self.cache_id)


@dataclass(frozen=True)
class SegmentationInputs(ScanInputs):
    """What a segmentor eats.

    Args:
        labels (Tensor | None): (N,) int64 class of each point, K for ignored ones; None where there are no labels.
    """

    labels: Tensor | None = None


def _offsets(sizes: Sequence[int]) -> list[int]:
    return torch.tensor([0, *sizes]).cumsum(0)[:-1].tolist()
