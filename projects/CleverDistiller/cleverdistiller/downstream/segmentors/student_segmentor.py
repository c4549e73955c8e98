from collections.abc import Sequence
from contextlib import nullcontext

import torch
from mmdet3d.models import Base3DSegmentor
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from cleverdistiller.downstream.student_weights import REQUIRED, StudentOptions, transfer_student
from cleverdistiller.errors import InputError
from cleverdistiller.models.frame_names import too_few_voxels_named
from cleverdistiller.ops.voxelize import devoxelize
from cleverdistiller.structures import SegmentationInputs

_OPTIONS = StudentOptions('model', 'model.backbone', 'model.data_preprocessor.voxel_size_m')


@MODELS.register_module()
class StudentSegmentor(Base3DSegmentor):
    """A distilled backbone and a head that gives each point a class (section 4.1 of the CleverDistiller paper).

    Trained on the points that speak for their voxels, as in Pointcept; every original point is predicted, through its
    voxel. ``frozen=True`` is linear probing: no gradient reaches the backbone, and its BatchNorm keeps its statistics,
    although mmengine calls ``train()`` at every epoch.

    Args:
        backbone (dict): Maps a VoxelGrid to (M, C); tells C as ``out_channels``.
        decode_head (dict): (M, C) to (M, K); both widths are filled in.
        num_classes (int): K. Labels from K on are ignored.
        losses (dict[str, dict]): Name to criterion over (labelled voxels, K) logits and their labels; summed.
        student_weights (str | None): An exported student, loaded before training starts; a key that is missing or
            does not fit is an error. None starts from random weights. ``required`` asks for one of the two.
        frozen (bool): Train the head alone.
        bn_train_in_lp (bool): Let a frozen backbone's BatchNorm see batches all the same, as some published code does;
            its statistics drift. For comparison only.
        allow_other_voxel_size (bool): Take a student that was distilled on another grid.
        allow_missing (Sequence[str]): Beginnings of the names of the student's tensors that may start at random.
        data_preprocessor (dict | None): :class:`SegmentationDataPreprocessor`.

    Raises:
        InputError: If ``bn_train_in_lp`` is set without ``frozen``, or the weights are not given or do not fit.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        num_classes: int,
        losses: dict[str, dict],
        student_weights: str | None = REQUIRED,
        frozen: bool = False,
        bn_train_in_lp: bool = False,
        allow_other_voxel_size: bool = False,
        allow_missing: Sequence[str] = (),
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if bn_train_in_lp and not frozen:
            raise InputError(
                'bn_train_in_lp=True with frozen=False', 'a frozen backbone', 'set model.frozen=True or leave it out'
            )
        self.num_classes = num_classes
        self.student_weights = student_weights
        self.frozen = frozen
        self.bn_train_in_lp = bn_train_in_lp
        self.allow_other_voxel_size = allow_other_voxel_size
        self.allow_missing = tuple(allow_missing)
        self.backbone = MODELS.build(backbone).requires_grad_(not frozen)
        self.decode_head = MODELS.build(
            dict(decode_head, in_channels=self.backbone.out_channels, out_channels=num_classes)
        )
        self.losses = nn.ModuleDict({name: MODELS.build(criterion) for name, criterion in losses.items()})

    def init_weights(self) -> None:
        """Called by the runner before training, not before testing: a test checkpoint holds all weights."""
        super().init_weights()
        transfer_student(
            self.backbone,
            self.student_weights,
            self.data_preprocessor.voxel_size_m,
            _OPTIONS,
            self.allow_other_voxel_size,
            self.allow_missing,
        )

    def train(self, mode: bool = True) -> 'StudentSegmentor':
        """Frozen stays frozen, whoever calls."""
        super().train(mode)
        if self.frozen and not self.bn_train_in_lp:
            self.backbone.eval()
        return self

    def extract_feat(self, inputs: SegmentationInputs) -> Tensor:
        """(M, C) features of the voxels."""
        with torch.no_grad() if self.frozen else nullcontext():
            return self.backbone(inputs.voxels)

    def encode_decode(self, inputs: SegmentationInputs, data_samples: list | None = None) -> Tensor:
        """(M, K) float32 logits of the voxels."""
        return self.decode_head(self.extract_feat(inputs)).float()

    def loss(self, inputs: SegmentationInputs, data_samples: list) -> dict[str, Tensor]:
        """The criteria on the voxels whose point has a class, and how many those are.

        Args:
            inputs (SegmentationInputs): With labels.
            data_samples (list[Det3DDataSample]): Their frames' names, for errors.

        Returns:
            dict[str, Tensor]: ``loss_NAME`` of each criterion, and ``labelled_voxels``.
        """
        with too_few_voxels_named(data_samples):
            logits = self.encode_decode(inputs)  # (M, K)
        labels = inputs.labels[inputs.voxels.representative]  # (M,)
        labelled = (labels < self.num_classes).nonzero()[:, 0]  # rows, not a mask: the host waits for a GPU once
        if not len(labelled):  # a scribbled scan whose scribbles fell to other points: a mean over nothing would be NaN
            losses = {f'loss_{name}': logits.sum() * 0 for name in self.losses}
        else:
            losses = {
                # Nothing is left to ignore.
                f'loss_{name}': criterion(logits[labelled], labels[labelled], ignore_index=None)
                for name, criterion in self.losses.items()
            }
        return dict(losses, labelled_voxels=logits.new_full((), len(labelled)))

    def predict(self, inputs: SegmentationInputs, data_samples: list) -> list:
        """Class and logits of every point.

        Args:
            inputs (SegmentationInputs): The batch.
            data_samples (list[Det3DDataSample]): One a scan.

        Returns:
            list[Det3DDataSample]: With ``pred_pts_seg.pts_semantic_mask`` (N_scan,) and
            ``pts_seg_logits.pts_seg_logits`` (K, N_scan).
        """
        logits = devoxelize(self.encode_decode(inputs), inputs)
        return self.postprocess_result([scan.T for scan in logits], data_samples)

    def _forward(self, inputs: SegmentationInputs, data_samples: list | None = None) -> Tensor:
        return self.encode_decode(inputs)
