"""A frozen backbone and a head on mmengine's runner, for hooks: two scans, a second an epoch at most."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

CLASSES = ('road', 'car', 'bus')  # there is no bus


class Scans(Dataset):
    metainfo = dict(classes=CLASSES)

    def __init__(self, data_root: Path) -> None:
        self.data_root = str(data_root)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        points = torch.randn(20, 3, generator=torch.Generator().manual_seed(index))
        return dict(inputs=points, labels=(points[:, 0] > 0).long())


class SmallSegmentor(BaseModel):
    """``leaks`` forgets to hold the frozen backbone's BatchNorm."""

    def __init__(self, frozen: bool = True, bn_train_in_lp: bool = False, leaks: bool = False) -> None:
        super().__init__()
        self.frozen, self.bn_train_in_lp, self.leaks = frozen, bn_train_in_lp, leaks
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).requires_grad_(not frozen)
        self.decode_head = nn.Linear(4, 2)

    def train(self, mode: bool = True) -> 'SmallSegmentor':
        super().train(mode)
        if self.frozen and not (self.bn_train_in_lp or self.leaks):
            self.backbone.eval()
        return self

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'tensor') -> dict | list[dict]:
        logits = self.decode_head(self.backbone(inputs[0]))
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(logits, labels[0]))
        masks = dict(pts_semantic_mask=logits.argmax(1)), dict(pts_semantic_mask=labels[0].numpy())
        return [dict(pred_pts_seg=masks[0], eval_ann_info=masks[1])]


class OneView(BaseTTAModel):
    def test_step(self, data: dict) -> list[dict]:
        return self.module.test_step(data)

    def merge_preds(self, data_samples_list: list) -> list:
        return data_samples_list


def make_runner(work_dir: Path, model: nn.Module, hook, cfg: dict | None = None, epochs: int = 2, **options) -> Runner:
    """Trains, validates after each epoch, and tests, on scans in ``work_dir``."""

    def loader() -> DataLoader:
        return DataLoader(Scans(work_dir))

    return Runner(
        model,
        str(work_dir),
        train_dataloader=loader(),
        val_dataloader=loader(),
        test_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg={},
        test_cfg={},
        optim_wrapper=dict(optimizer=torch.optim.SGD(model.parameters(), lr=0.1)),
        val_evaluator=dict(type='SafeSegMetric'),
        test_evaluator=dict(type='SafeSegMetric'),
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=1)),  # refuses what is no plain value
        custom_hooks=[hook],
        default_scope='mmdet3d',
        randomness=dict(seed=5),
        experiment_name=f'{work_dir.name}_{id(model)}',
        cfg=Config(cfg or {}),
        **options,
    )
