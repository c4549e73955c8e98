import numpy as np

from cleverdistiller.simulation.boxes import CORNERS, EDGES, NEAR_M, before_the_camera


def test_edges_join_corners_that_differ_in_one_direction():
    assert len(EDGES) == 12 and ((CORNERS[EDGES[:, 0]] != CORNERS[EDGES[:, 1]]).sum(1) == 1).all()


def test_a_box_in_front_keeps_its_corners_and_one_behind_has_none():
    ahead = np.array([0.0, 0, 5])
    assert np.array_equal(before_the_camera(CORNERS + ahead), CORNERS + ahead)
    assert before_the_camera(CORNERS - ahead).shape == (0, 3)


def test_what_is_left_bounds_every_point_of_the_box_in_front():
    rng = np.random.default_rng(0)
    for _ in range(50):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        corners = CORNERS * rng.uniform(1, 5, 3) @ turn + rng.normal(0, 1.5, 3)
        weights = rng.dirichlet(np.full(8, 0.2), 4000)
        inside = weights @ corners
        inside = inside[inside[:, 2] > NEAR_M]
        kept = before_the_camera(corners)
        if not len(inside):
            continue
        uv, bounds = inside[:, :2] / inside[:, 2:], kept[:, :2] / kept[:, 2:]
        assert (uv.min(0) >= bounds.min(0) - 1e-9).all() and (uv.max(0) <= bounds.max(0) + 1e-9).all()
        assert (kept[:, 2] >= NEAR_M - 1e-9).all()
