import torch
from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric

from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.rank import matrix_rank, rankme


@METRICS.register_module()
class RankMeMetric(BaseMetric):
    """RankMe and matrix rank of the student's features before the head, on fixed points of fixed frames.

    Reports ``rankme`` (not centred, the original), ``rankme_centred``, ``rankme_normalised`` (unit rows),
    ``matrix_rank`` and ``num_points``. Compare values only at equal ``num_points``.

    Args:
        points_per_frame (int): Drawn per frame with a fixed seed; 256 points of 100 frames make the usual
            25,600.
        **kwargs: For :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = 'rank'

    def __init__(self, points_per_frame: int = 256, **kwargs) -> None:
        super().__init__(**kwargs)
        self.points_per_frame = points_per_frame

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Keep some points of each frame; ``data_samples`` have ``point_features`` (N, C)."""
        for sample in data_samples:
            features = sample['point_features']
            generator = torch.Generator().manual_seed(0)
            rows = torch.randperm(len(features), generator=generator)[: self.points_per_frame]
            self.results.append(features[rows.to(features.device)].float().cpu())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The ranks of all kept rows together."""
        features = torch.cat(results)
        if not torch.isfinite(features).all():
            raise InputError(
                'student features that are NaN or infinite',
                'finite features',
                'training diverged: lower the learning rate, or train without AMP',
            )
        return dict(
            rankme=rankme(features),
            rankme_centred=rankme(features - features.mean(0)),
            rankme_normalised=rankme(torch.nn.functional.normalize(features, dim=1)),
            matrix_rank=matrix_rank(features),
            num_points=len(features),
        )
