import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.errors import InputError
from cleverdistiller.ops.occupancy_queries import radius_pairs, sample_queries
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
        support (str): ``radius``: every input point near the query explains it. ``anchor``: only the point
            the query was made from; then the sign of (q - p).p gives the answer away and no geometry is
            learned: an ablation.
        radius_m (float): Reach of ``radius``, metres.
        max_support (int | None): Random points kept per query. ALSO's graph library keeps 32 at most by
            its default; a nuScenes frame has 2,000 on average (docs/benchmarks.md). None keeps all.

    Raises:
        InputError: If ``support`` is another word.
    """

    def __init__(
        self,
        num_queries: int = 2048,
        shell_m: float = 0.1,
        support: str = 'radius',
        radius_m: float = 1.0,
        max_support: int | None = 32,
    ) -> None:
        if support not in ('radius', 'anchor'):
            raise InputError(f'support={support!r}', 'radius or anchor', "correct the pipeline's config")
        self.num_queries = num_queries
        self.shell_m = shell_m
        self.support = support
        self.radius_m = radius_m
        self.max_support = max_support

    def transform(self, results: dict) -> dict:
        points = results['points'].tensor
        position, occupied, intensity, anchor = sample_queries(
            points[:, :3], points[:, 3], self.num_queries, self.shell_m
        )
        if self.support == 'radius':
            query, point = radius_pairs(position, points[:, :3], self.radius_m, self.max_support)
        else:
            query, point = torch.arange(len(anchor)), anchor
        results['queries'] = OccupancyQueries(position, occupied, intensity, query, point)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_queries={self.num_queries}, shell_m={self.shell_m}, '
            f'support={self.support!r}, radius_m={self.radius_m}, max_support={self.max_support})'
        )
