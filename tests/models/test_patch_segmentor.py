import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, PointData

from cleverdistiller.errors import InputError
from cleverdistiller.models.teachers.patch_segmentor import soft_cross_entropy

SIZE_HW, CLASSES = (32, 64), 3  # 2 x 4 patches of test_vit's 16 px
OPTIONS = dict(type='PatchSegmentor', name='test_vit', num_classes=CLASSES, image_size_hw=SIZE_HW)


def batch() -> tuple[list[torch.Tensor], list[Det3DDataSample]]:
    """Two images: left half dark and of class 0, right half bright and of class 1."""
    image = torch.full((3, *SIZE_HW), 20, dtype=torch.uint8)
    image[..., 32:] = 220
    samples = [Det3DDataSample() for _ in range(2)]
    for sample in samples:
        share = torch.eye(CLASSES)[torch.tensor([0, 0, 1, 1]).repeat(2)]
        sample.gt_pts_seg = PointData(patch_share=share)
    return [image, image], samples


def slow_soft_cross_entropy(logits, shares, balance):
    present = [float(shares[:, k].mean()) for k in range(CLASSES)]
    total = weights = 0.0
    for patch in range(len(logits)):
        for k in range(CLASSES):
            weight = float(shares[patch, k]) * max(present[k], 1e-4) ** -balance
            probability = torch.exp(logits[patch, k]) / torch.exp(logits[patch]).sum()
            total, weights = total - weight * float(torch.log(probability)), weights + weight
    return total / weights


@pytest.mark.parametrize('balance', [0.0, 0.5, 1.0])
def test_the_loss_is_the_mean_over_weighted_shares(balance):
    logits, shares = torch.randn(7, CLASSES), torch.rand(7, CLASSES)
    shares[:, 2] *= 0.01
    shares /= shares.sum(1, keepdim=True)
    found = soft_cross_entropy(logits[None], shares[None], balance)
    assert float(found) == pytest.approx(slow_soft_cross_entropy(logits, shares, balance), rel=1e-5)


def test_a_class_that_is_not_there_gives_no_infinite_loss():
    shares = torch.tensor([[1.0, 0.0, 0.0]])
    assert torch.isfinite(soft_cross_entropy(torch.zeros(1, CLASSES), shares, 1.0))


def test_it_learns_which_half_is_which():
    model = MODELS.build(OPTIONS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        loss = model(*batch(), mode='loss')['loss_patch']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 4
    predicted = model.eval()(*batch(), mode='predict')
    for sample in predicted:
        assert sample.pred_pts_seg.pts_semantic_mask.tolist() == [0, 0, 1, 1] * 2
    assert model([batch()[0][0]]).shape == (1, 8, CLASSES)


def test_the_teacher_built_with_its_arguments_has_its_features():
    model = MODELS.build(dict(OPTIONS, arch=dict(depth=2))).eval()
    teacher = MODELS.build(dict(type='TimmViTTeacher', weights='random', features='post_norm', **model.arguments))
    teacher.vit.load_state_dict(model.vit.state_dict(), strict=True)
    image = batch()[0][0]
    features = teacher(image[None] / 255)  # (1, D, 2, 4)
    logits = model.classifier(features.flatten(2).transpose(1, 2))
    assert torch.allclose(logits, model([image]), atol=1e-5)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(InputError, match=r'arch.*hidden_width'):
        MODELS.build(dict(OPTIONS, arch=dict(hidden_width=3)))
