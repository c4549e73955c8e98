import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cleverdistiller.errors import InputError
from cleverdistiller.ops import superpixels as module
from cleverdistiller.ops.superpixels import (
    MAX_SUPERPIXELS,
    group_means,
    resize_nearest,
    slic_superpixels,
    superpixel_at,
    superpixel_means,
)


def test_colours_apart_are_superpixels_apart():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:, 0], image[20:, :, 1] = 255, 255
    found = slic_superpixels(image, num_segments=4, compactness=6, sigma=0)
    assert found.dtype == np.uint8 and found.shape == (40, 60)
    quarters = [found[rows, cols] for rows in (slice(20), slice(20, 40)) for cols in (slice(30), slice(30, 60))]
    assert sorted(np.unique(quarter).tolist() for quarter in quarters) == [[0], [1], [2], [3]]


def test_a_camera_of_the_real_keyframe_has_some_110_superpixels_of_150_asked_for(keyframe_dir):
    path = next(keyframe_dir.glob('*CAM_FRONT__*.jpg'))
    found = slic_superpixels(np.asarray(Image.open(path)), num_segments=150, compactness=6, sigma=3)
    ids, sizes = np.unique(found, return_counts=True)
    assert found.shape == (900, 1600) and ids.tolist() == list(range(len(ids)))
    assert 100 <= len(ids) <= 150 and sizes.min() >= 900 * 1600 / 150 / 2


def test_more_superpixels_than_a_byte_can_name_are_refused(monkeypatch):
    monkeypatch.setattr(module, 'slic', lambda image, **_: np.arange(257).reshape(1, 257))
    with pytest.raises(InputError, match=r'(?s)257 superpixels .*lower num_segments'):
        slic_superpixels(np.zeros((1, 257, 3), np.uint8), 255, 6, 3)


@pytest.mark.parametrize('size_hw', [(7, 11), (20, 31), (40, 3)])
def test_resizing_takes_the_id_at_the_centre_of_each_pixel(size_hw):
    segments = np.random.randint(0, 256, (20, 31), np.uint8)
    found = resize_nearest(segments, size_hw)
    for row in range(size_hw[0]):
        for col in range(size_hw[1]):
            centre = (row + 0.5) * 20 / size_hw[0], (col + 0.5) * 31 / size_hw[1]
            assert found[row, col] == segments[int(centre[0]), int(centre[1])]
    # The images are resized by Pillow, to which the pixels must correspond.
    expected = Image.fromarray(segments).resize(size_hw[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_pixel_is_in_the_superpixel_of_the_nearest_whole_pixel():
    superpixels = torch.randint(0, 256, (3, 5, 8), dtype=torch.uint8)
    image = torch.tensor([0, 2, 2, 1, 0])
    uv_px = torch.tensor([[0.2, 0.4], [3.6, 2.4], [7.49, 4.49], [7.8, 4.9], [6.51, 0.0]])
    whole = [(0, 0), (4, 2), (7, 4), (7, 4), (7, 0)]  # the fourth rounds to beyond the border
    found = superpixel_at(superpixels, image, uv_px)
    assert found.tolist() == [256 * int(i) + int(superpixels[i, row, col]) for i, (col, row) in zip(image, whole)]


def test_group_means_equal_a_loop():
    rows = torch.randn(40, 3, requires_grad=True)
    group = torch.randint(0, 7, (40,)) * 2  # odd groups are empty
    expected = torch.stack(
        [
            sum((row for row, mine in zip(rows, group) if mine == number), torch.zeros(3))
            / max(1, int((group == number).sum()))
            for number in range(14)
        ]
    )
    found = group_means(rows, group, 14)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(14, 3)
    gradients = [torch.autograd.grad((value * weights).sum(), rows)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('groups', [0, 4])
def test_no_rows_have_means_of_zero_and_a_gradient(groups):
    rows = torch.zeros(0, 3, requires_grad=True)
    found = group_means(rows, torch.zeros(0, dtype=torch.int64), groups)
    assert torch.equal(found, torch.zeros(groups, 3))
    assert torch.autograd.grad(found.sum(), rows)[0].shape == (0, 3)


@pytest.mark.parametrize('align_corners', [True, False])
def test_superpixel_means_equal_a_loop_over_pixels(align_corners):
    patches = torch.randn(2, 5, 3, 4, requires_grad=True)
    superpixels = torch.randint(0, 6, (2, 9, 16), dtype=torch.uint8)
    dense = F.interpolate(patches, (9, 16), mode='bilinear', align_corners=align_corners)
    members = [[] for _ in range(2 * MAX_SUPERPIXELS)]
    for image in range(2):
        for row in range(9):
            for col in range(16):
                pixel = dense[image, :, row, col]
                number = MAX_SUPERPIXELS * image + int(superpixels[image, row, col])
                members[number].append(pixel / pixel.norm())
    expected = torch.stack([sum(each) / len(each) if each else torch.zeros(5) for each in members])
    found = superpixel_means(patches, superpixels, align_corners)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    gradients = [torch.autograd.grad((value * weights).sum(), patches)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)
