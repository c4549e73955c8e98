import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.errors import InputError
from cleverdistiller.ops.occupancy_queries import decimate, radius_pairs, sample_queries
from cleverdistiller.structures import OccupancyQueries


@TRANSFORMS.register_module()
class SampleOccupancyQueries(BaseTransform):
    """Draw ALSO's occupancy queries and the points that must explain them. Comes before augmentation.

    Required Keys:

    - points (LiDARPoints): sensor at the origin, intensity in 0..1

    Added Keys:

    - queries (OccupancyQueries)

    Args:
        num_queries (int): Queries a scan (ALSO: 2048).
        shell_m (float): Thickness of the empty and filled shells, metres (ALSO: 0.1).
        decimate_m (float | None): Queries are made from, and explained by, one random point of each cell of this edge,
            metres (ALSO: 0.1). None takes all points of the sweep: on a nuScenes frame two fifths of the loss
            then lie within 2.5 m of the sensor, a tenth otherwise (docs/benchmarks.md).
        support (str): ``radius``: every such point near the query explains it. ``anchor``: only the point
            the query was made from; then the sign of (q - p).p gives the answer away and no geometry is
            learned: an ablation.
        radius_m (float): Reach of ``radius``, metres.
        max_points (int | None): With ``radius``: so many random points, of those that ``decimate_m`` left, may explain
            queries (ALSO: 16384, all that its network sees). None: all of them.
        max_support (int | None): Random points kept per query. ALSO's graph library keeps 32 at most by
            its default. None keeps all.

    Raises:
        InputError: If ``support`` is another word, or ``decimate_m`` is not above 0.
    """

    def __init__(
        self,
        num_queries: int = 2048,
        shell_m: float = 0.1,
        decimate_m: float | None = 0.1,
        support: str = 'radius',
        radius_m: float = 1.0,
        max_points: int | None = None,
        max_support: int | None = 32,
    ) -> None:
        if support not in ('radius', 'anchor'):
            raise InputError(f'support={support!r}', 'radius or anchor', "correct the pipeline's config")
        if decimate_m is not None and not decimate_m > 0:
            raise InputError(f'decimate_m={decimate_m}', 'metres above 0', 'set None to take every point of the sweep')
        self.num_queries = num_queries
        self.shell_m = shell_m
        self.decimate_m = decimate_m
        self.support = support
        self.radius_m = radius_m
        self.max_points = max_points
        self.max_support = max_support

    def transform(self, results: dict) -> dict:
        points = results['points'].tensor
        kept = torch.arange(len(points)) if self.decimate_m is None else decimate(points, self.decimate_m)  # (K,)
        position, occupied, intensity, anchor = sample_queries(
            points[kept, :3], points[kept, 3], self.num_queries, self.shell_m
        )
        if self.support == 'radius':
            if self.max_points is not None and self.max_points < len(kept):
                kept = kept[torch.randperm(len(kept))[: self.max_points]]
            query, point = radius_pairs(position, points[kept, :3], self.radius_m, self.max_support)
        else:
            query, point = torch.arange(len(anchor)), anchor
        point = kept[point]
        results['queries'] = OccupancyQueries(position, occupied, intensity, query, point)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_queries={self.num_queries}, shell_m={self.shell_m}, '
            f'decimate_m={self.decimate_m}, support={self.support!r}, radius_m={self.radius_m}, '
            f'max_points={self.max_points}, max_support={self.max_support})'
        )
