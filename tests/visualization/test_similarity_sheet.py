"""Which places are asked about, and what is found similar to them."""

import dataclasses

import numpy as np
import pytest

from cleverdistiller.errors import InputError
from cleverdistiller.visualization import draw_similarity
from cleverdistiller.visualization.panel_style import scale_colours
from cleverdistiller.visualization.similarity_queries import WITHIN, nearest_pair, unlike_pairs
from cleverdistiller.visualization.similarity_sheet import BIRD_EYE_PX, LEGEND_PX, fitted_scale, similarities
from distilled_frames import made_up_features, unit


def test_similarities_are_cosines_with_the_query():
    frame = made_up_features()
    of_patches, (of_points,) = similarities(frame, 0, query=7)
    for row in range(3):
        for column in range(4):
            cosine = frame.patch_features[0, row, column] @ frame.pixel_features[7]
            assert of_patches[row, column] == pytest.approx(cosine, abs=1e-6)
    features = frame.students[0].point_features
    np.testing.assert_allclose(of_points, [feature @ features[7] for feature in features], atol=1e-6)
    assert of_points.argmax() == 7


def test_the_nearest_pair_of_the_camera_is_taken():
    frame = made_up_features()
    for query in range(0, 40, 9):
        u, v = frame.uv_px[query] + (0.3, -0.2)
        away = [np.hypot(u - a, v - b) for a, b in frame.uv_px]
        assert nearest_pair(frame, 0, (u, v)) == np.argmin(away)
    moved = dataclasses.replace(frame, image_index=np.arange(40) % 2)  # every other pair belongs to the second camera
    assert nearest_pair(moved, 1, tuple(frame.uv_px[3])) == 3


def test_a_query_without_a_point_is_refused_with_the_nearest_one():
    frame = made_up_features()
    corner = (1.0, 88.0)
    assert np.linalg.norm(frame.uv_px - corner, axis=1).min() > WITHIN * 160
    with pytest.raises(InputError, match='the nearest point is at'):
        nearest_pair(frame, 0, corner)
    for outside in ((160.0, 10.0), (10.0, -1.0), (10.0, 90.0)):
        with pytest.raises(InputError, match='a column of 0 to 159'):
            nearest_pair(frame, 0, outside)
    with pytest.raises(InputError, match='left with no LiDAR point'):
        nearest_pair(frame, 1, (10.0, 10.0))


def test_unlike_pairs_are_of_different_kinds_and_always_the_same():
    frame = made_up_features()
    kinds = np.arange(40) % 3
    noise = np.random.default_rng(3).normal(size=(40, 6))
    frame = dataclasses.replace(frame, pixel_features=unit(np.eye(6)[kinds] + 0.05 * noise))
    chosen = unlike_pairs(frame, 0)
    assert set(kinds[chosen]) == {0, 1, 2} and unlike_pairs(frame, 0) == chosen
    inner = np.abs(frame.uv_px / (160, 90) - 0.5) < 0.45
    assert inner[chosen].all()
    with pytest.raises(InputError, match='left with 0'):
        unlike_pairs(frame, 1)


def test_the_scale_holds_all_but_the_lowest_cosines():
    values = [np.linspace(0.2, 1, 101), np.linspace(-0.5, 1, 151)]
    low, high = fitted_scale(values)
    assert low == pytest.approx(-0.47) and high == 1
    low, high = fitted_scale([np.ones(5)])
    assert low < high


def test_a_sheet_has_a_row_for_each_query_and_student_in_one_scale():
    frame = made_up_features()
    one, two = (draw_similarity(frame, 0, queries) for queries in ([7], [7, 20]))
    assert two.height > one.height + 400
    twice = dataclasses.replace(frame, students=frame.students * 2)
    assert draw_similarity(twice, 0, [7]).height == two.height
    assert draw_similarity(frame, 0, [7], scale=(0.0, 1.0)).tobytes() != one.tobytes()


def test_the_queried_point_is_the_hottest_and_opposite_ones_the_coldest():
    frame = made_up_features()
    signs = np.where(np.arange(41) == 7, 1, -1)[:, None]
    student = dataclasses.replace(frame.students[0], point_features=(signs * np.eye(6)[0]).astype(np.float32))
    sheet = np.asarray(draw_similarity(dataclasses.replace(frame, students=(student,)), 0, [7], scale=(-1, 1)))
    from_above = sheet[: -2 * LEGEND_PX, -BIRD_EYE_PX:]
    coldest, hottest = scale_colours(np.array([0.0, 1.0]))
    assert 0 < (from_above == hottest).all(-1).sum() < (from_above == coldest).all(-1).sum()
