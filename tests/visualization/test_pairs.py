import numpy as np

from cleverdistiller.visualization import draw_pairs


def test_dots_land_on_their_pixel_of_their_tile_near_ones_on_top():
    images = np.zeros((4, 60, 80, 3), np.uint8)
    image_index = np.array([1, 3, 3])
    uv_px = np.array([[30, 40], [50, 50], [50, 50]])
    sheet = np.asarray(draw_pairs(images, list('abcd'), image_index, uv_px, np.array([5.0, 1.0, 50.0])))
    assert sheet.shape == (120, 240, 3)  # three columns, two rows
    assert sheet[40, 80 + 30].any() and sheet[60 + 50, 50].any()
    assert not sheet[40, 30].any() and not sheet[50, 160 + 50].any()
    near = np.asarray(draw_pairs(images, list('abcd'), image_index[1:2], uv_px[1:2], np.array([1.0])))
    assert (sheet[60 + 50, 50] == near[60 + 50, 50]).all()
    assert sheet[60 + 50, 50].astype(int).sum() > 300  # near is bright


def test_the_farther_the_darker():
    depth_m = np.array([2.0, 20.0, 40.0, 59.0])
    uv_px = np.array([[10, 50], [30, 50], [50, 50], [70, 50]])
    sheet = draw_pairs(np.zeros((1, 60, 80, 3), np.uint8), ['a'], np.zeros(4, int), uv_px, depth_m, columns=1)
    luminance = np.asarray(sheet.convert('L')).astype(int)[50, uv_px[:, 0]]
    assert (np.diff(luminance) < 0).all() and luminance[-1] > 0
