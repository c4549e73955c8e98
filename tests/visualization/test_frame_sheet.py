import numpy as np
import pytest

from cleverdistiller.datasets.palette import colour_of
from cleverdistiller.visualization import draw_frame, frame_sheet
from cleverdistiller.visualization.bird_eye_panel import draw_bird_eye, to_panel_px
from cleverdistiller.visualization.box_corners import FRONT_EDGES, OTHER_EDGES, box_corners
from cleverdistiller.visualization.camera_panel import draw_camera
from cleverdistiller.visualization.frame_sheet import BANNER_PX, BIRD_EYE_PX, GAP_PX, WIDTH_PX, row_sizes_wh
from cleverdistiller.visualization.panel_style import WARNING, paint_dots
from cleverdistiller.visualization.statistics_panel import bar_length_px, draw_statistics
from frame_views import CAM2IMG, camera, made_up_view

NO_BOXES = dict(boxes_lidar_m=np.zeros((0, 7)), box_names=())


def lit(picture) -> np.ndarray:
    return np.asarray(picture).max(-1) > 60


def same(picture, colour) -> np.ndarray:
    return (np.asarray(picture) == colour).all(-1)


def test_corners_are_a_box_with_its_front_along_the_heading():
    x, y, z, length, width, height, yaw = box = np.array([3.0, -2, 1, 4, 2, 1.5, 0.7])
    corners = box_corners(box[None])[0]
    np.testing.assert_allclose(corners.mean(0), [x, y, z], atol=1e-12)
    np.testing.assert_allclose(
        corners[:4].mean(0) - corners[4:].mean(0), [length * np.cos(yaw), length * np.sin(yaw), 0]
    )
    edges = sorted(np.linalg.norm(corners[a] - corners[b]) for a, b in FRONT_EDGES + OTHER_EDGES)
    np.testing.assert_allclose(edges, sorted([length, width, height] * 4))


def test_a_box_is_drawn_where_a_pinhole_camera_sees_its_corners():
    view = made_up_view()
    drawn = lit(draw_camera(camera(name=''), view, (160, 90)))
    for x, y, z in box_corners(view.boxes_lidar_m)[0]:  # x ahead, y left, z up
        u, v = CAM2IMG[0, 2] - 100 * y / x, CAM2IMG[1, 2] - 100 * z / x
        assert drawn[round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3].any(), (u, v)
    rows, columns = np.nonzero(drawn)
    nearest = 8.0  # the side towards the camera
    assert abs(columns.max() - (80 + 100 / nearest)) < 3 and abs(columns.min() - (80 - 100 / nearest)) < 3
    assert abs(rows.max() - (45 + 75 / nearest)) < 3


def test_the_picture_is_scaled_and_boxes_with_it():
    view = made_up_view()
    double = lit(draw_camera(camera(name=''), view, (320, 180)))
    assert abs(np.nonzero(double)[1].max() - 2 * (80 + 100 / 8)) < 4


def test_what_is_behind_the_camera_is_not_drawn_and_what_reaches_behind_is_cut():
    view = made_up_view(boxes_lidar_m=np.array([[-10.0, 0, 0, 4, 2, 1.5, 0]]))
    assert not same(draw_camera(camera(), view, (160, 90)), colour_of('car')).any()
    assert same(draw_camera(camera(np.pi), view, (160, 90)), colour_of('car')).any()
    around = made_up_view(boxes_lidar_m=np.array([[0.0, 0, 0, 12, 3, 3, 0]]))
    assert same(draw_camera(camera(), around, (160, 90)), colour_of('car')).any()


def test_points_on_the_picture_have_their_class_colour_and_near_ones_lie_on_top():
    points = np.array([[20.0, 0, 0], [10, 0, 0], [-10, 0, 0]], np.float32)  # one pixel; the last is behind
    view = made_up_view(points_lidar_m=points, labels=np.array([0, 1, 2]), **NO_BOXES)
    picture = np.asarray(draw_camera(camera(), view, (160, 90), points=True))
    assert tuple(picture[45, 80]) == colour_of('car')
    assert not same(picture, colour_of('vegetation')).any() and not same(picture, colour_of('sidewalk')).any()
    by_depth = np.asarray(draw_camera(camera(), made_up_view(labels=None, **NO_BOXES), (160, 90), points=True))
    assert by_depth[45, 80].any() and tuple(by_depth[45, 80]) != colour_of('car')


def test_dots_are_painted_as_one_after_the_other():
    rng = np.random.default_rng(0)
    uv_px, colours = rng.uniform(-3, 33, (200, 2)), rng.integers(0, 255, (200, 3)).astype(np.uint8)
    canvas, slow = np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30, 3), np.uint8)
    paint_dots(canvas, uv_px, colours, size_px=3)
    for (u, v), colour in zip(uv_px, colours):
        for row in range(3):
            for column in range(3):
                x, y = int(np.floor(u - 1)) + column, int(np.floor(v - 1)) + row
                if 0 <= x < 30 and 0 <= y < 30:
                    slow[y, x] = colour
    np.testing.assert_array_equal(canvas, slow)


@pytest.mark.parametrize(
    'ahead_yaw,ahead,left', [(0.0, (10, 0), (0, 10)), (np.pi / 2, (0, 10), (-10, 0))], ids=['kitti', 'nuscenes']
)
def test_from_above_ahead_is_up_and_left_is_left(ahead_yaw, ahead, left):
    found = to_panel_px(np.array([ahead, left, (0, 0)], float), ahead_yaw, 200, 50.0)
    np.testing.assert_allclose(found, [[100, 80], [80, 100], [100, 100]], atol=1e-9)


def test_boxes_and_points_from_above_lie_where_they_should():
    points = np.array([[30.0, 20, 0]], np.float32)
    view = made_up_view(
        points_lidar_m=points, labels=np.array([0]), boxes_lidar_m=np.array([[-30.0, 0, 0, 20, 10, 2, 0]])
    )
    panel = draw_bird_eye(view, 500, 50.0)  # 5 pixels a metre
    rows, columns = np.nonzero(same(panel, colour_of('car')))
    assert abs(rows.max() - 450) <= 2 and abs(columns.min() - 225) <= 2 and abs(columns.max() - 275) <= 2
    assert rows.min() < 348  # the heading pokes out of the front, towards the car
    red, green, blue = np.moveaxis(np.asarray(panel).astype(int), -1, 0)
    rows, columns = np.nonzero(green - np.maximum(red, blue) > 50)
    assert abs(rows.mean() - 100) <= 2 and abs(columns.mean() - 150) <= 2


def test_bars_are_as_long_as_the_log_of_their_count_and_in_their_colour():
    labels = np.repeat([0, 1, -1], [1000, 10, 5])
    view = made_up_view(points_lidar_m=np.zeros((len(labels), 3)), labels=labels, **NO_BOXES)
    panel = draw_statistics(view, (900, 800))
    widths = [same(panel, colour_of(name)).any(0).sum() for name in view.class_names]
    full = widths[0]  # 1000 is the end of the scale
    assert full > 400 and abs(widths[1] - full * np.log(20) / np.log(2000)) < 3 and widths[2] == 0
    assert bar_length_px(1, 1000, 500) > 30 and bar_length_px(1000, 1000, 500) == 500


def test_many_classes_fit():
    names = (*(f'class {k}' for k in range(60)), 'car')
    labels = np.array([60])
    panel = draw_statistics(
        made_up_view(points_lidar_m=np.zeros((1, 3)), labels=labels, class_names=names, **NO_BOXES), (900, 1300)
    )
    assert same(panel, colour_of('car')).any()


def test_simulated_frames_say_so_and_others_do_not(monkeypatch):
    real, simulated = draw_frame(made_up_view()), draw_frame(made_up_view(simulated=True))
    assert simulated.height == real.height + BANNER_PX
    assert same(simulated, WARNING)[:BANNER_PX].mean() > 0.5 and not same(real, WARNING).any()
    monkeypatch.setattr(frame_sheet, 'BANNER', '')
    assert draw_frame(made_up_view(simulated=True)).tobytes() != simulated.tobytes()  # there are words on it
    assert simulated.crop((0, BANNER_PX, *simulated.size)).tobytes() == real.tobytes()


def test_pictures_of_a_row_are_of_one_height_and_fill_it():
    row = (camera(size_hw=(900, 1600)), camera(size_hw=(1280, 1920)), camera(size_hw=(886, 1920)))
    sizes = row_sizes_wh(row)
    assert len({height for _, height in sizes}) == 1
    assert WIDTH_PX - 4 * GAP_PX - 3 <= sum(width for width, _ in sizes) <= WIDTH_PX - 4 * GAP_PX
    assert row_sizes_wh((camera(size_hw=(100, 200)),)) == [(300, 150)]  # a small one is not blown up


def test_a_frame_without_pictures_labels_or_boxes_has_a_sheet():
    view = made_up_view(camera_rows=(), labels=None, **NO_BOXES)
    assert draw_frame(view, points=True).size[0] == WIDTH_PX
    empty = made_up_view(points_lidar_m=np.zeros((0, 3)), labels=np.zeros(0, int), **NO_BOXES)
    assert draw_frame(empty).size[1] > BIRD_EYE_PX
