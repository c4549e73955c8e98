"""One basis of colours for teacher and students, and what the sheet says of them."""

import dataclasses

import numpy as np
import pytest

from cleverdistiller.errors import InputError
from cleverdistiller.visualization import ProjectedStudent, draw_features
from cleverdistiller.visualization.captioned_rows import HEADING_PX
from cleverdistiller.visualization.feature_sheet import MOST_BIRD_EYE_PX, MOST_CAMERA_PX
from cleverdistiller.visualization.frame_sheet import BANNER_PX, GAP_PX, WIDTH_PX
from cleverdistiller.visualization.principal_colours import PERCENTILES, PrincipalColours
from distilled_frames import made_up_features, unit


def test_colours_are_the_scaled_principal_components():
    features = np.random.default_rng(0).normal(size=(200, 7)) * np.arange(1, 8)
    colours = PrincipalColours.fit(features)
    _, singular, directions = np.linalg.svd(features - features.mean(0))
    assert colours.share == pytest.approx((singular[:3] ** 2).sum() / (singular**2).sum())
    for channel in range(3):
        direction = directions[channel] * np.sign(directions[channel][np.abs(directions[channel]).argmax()])
        values = (features - features.mean(0)) @ direction
        low, high = np.percentile(values, PERCENTILES)
        wanted = np.clip((values - low) / (high - low), 0, 1) * 255
        assert np.abs(colours(features)[:, channel] - wanted).max() <= 1


def test_colours_of_one_feature_are_one_colour_and_too_few_features_none():
    same = PrincipalColours.fit(np.ones((9, 5)))
    assert len(np.unique(same(np.ones((2, 3, 5))).reshape(-1, 3), axis=0)) == 1
    with pytest.raises(InputError, match='3 paired points'):
        PrincipalColours.fit(np.eye(5)[:3])


def test_agreement_is_the_mean_cosine_and_no_constant_beats_the_bound():
    frame = made_up_features()
    student = ProjectedStudent('other', unit(np.random.default_rng(1).normal(size=(41, 6))))
    cosines = [
        student.point_features[point] @ feature for point, feature in zip(frame.point_index, frame.pixel_features)
    ]
    assert frame.agreement(student) == pytest.approx(np.mean(cosines), abs=1e-6)
    assert frame.agreement(frame.students[0]) == pytest.approx(1, abs=1e-6)
    constants = unit(np.random.default_rng(2).normal(size=(500, 6)))
    best = (constants @ frame.pixel_features.T).mean(1).max()
    assert 0.8 * frame.constant_agreement() < best <= frame.constant_agreement() + 1e-6


@pytest.mark.parametrize('reverse', [False, True], ids=['like its teacher', 'unlike it'])
def test_only_a_student_like_its_teacher_has_its_colours_from_above(reverse):
    frame = made_up_features()
    features = frame.students[0].point_features[:: -1 if reverse else 1]
    sheet = draw_features(dataclasses.replace(frame, students=(ProjectedStudent('student', features),)))
    top, left = sheet.height - GAP_PX - MOST_BIRD_EYE_PX, (WIDTH_PX - 2 * MOST_BIRD_EYE_PX - GAP_PX) // 2
    panels = np.asarray(sheet)[top:-GAP_PX]
    of_teacher = panels[:, left : left + MOST_BIRD_EYE_PX]
    of_student = panels[:, left + MOST_BIRD_EYE_PX + GAP_PX :][:, :MOST_BIRD_EYE_PX]
    below_captions = slice(40, None)
    assert (of_teacher[below_captions] == of_student[below_captions]).all() != reverse


def test_a_sheet_has_a_row_for_each_student_and_shows_the_cameras_asked_for():
    frame = made_up_features()
    two = dataclasses.replace(frame, students=frame.students * 2)
    one_camera = draw_features(frame, ['front'])
    row_px = HEADING_PX + round(MOST_CAMERA_PX * 90 / 160) + GAP_PX
    narrower_px = MOST_BIRD_EYE_PX - ((WIDTH_PX - GAP_PX) // 3 - GAP_PX)  # three views from above instead of two
    assert draw_features(two, ['front']).height == one_camera.height + row_px - narrower_px
    assert draw_features(frame, ['left']).tobytes() != one_camera.tobytes()
    with pytest.raises(InputError, match='front, left'):
        draw_features(frame, ['behind'])


def test_simulated_features_carry_the_banner():
    frame = made_up_features()
    simulated = dataclasses.replace(frame, view=dataclasses.replace(frame.view, simulated=True))
    assert draw_features(simulated).height == draw_features(frame).height + BANNER_PX


@pytest.mark.parametrize('name', ['patch_features', 'image_index', 'uv_px', 'pixel_features'])
def test_features_that_do_not_fit_together_are_refused(name):
    with pytest.raises(InputError, match=name):
        made_up_features(**{name: np.zeros((1, 1, 1, 6))})
    with pytest.raises(InputError, match='short'):
        made_up_features(students=(ProjectedStudent('short', np.zeros((3, 6))),))
