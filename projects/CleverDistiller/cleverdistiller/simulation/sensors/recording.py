"""One frame of one rig."""

from __future__ import annotations

import dataclasses

import numpy as np

from cleverdistiller.simulation.frame import LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.camera import expose
from cleverdistiller.simulation.sensors.lidar import scan
from cleverdistiller.simulation.sensors.rigs import LidarModel, Rig
from cleverdistiller.simulation.world.scene import Scene

ROOM = 3.0  # standard deviations of the range noise


def simulate_frame(scene: Scene, rig: Rig, index: int) -> SimulatedFrame:
    """Run all sensors of a rig for one keyframe.

    Args:
        scene (Scene): The world.
        rig (Rig): The car's sensors.
        index (int): Number of the keyframe; it is taken ``index * rig.frame_s`` after the scene's start.

    Returns:
        SimulatedFrame: Sweep, images, objects, and the sweeps since the previous keyframe.
    """
    time_s = index * rig.frame_s
    step_s = rig.frame_s / (rig.sweeps_between + 1)
    between = range(rig.sweeps_between, 0, -1) if index else ()
    keyframe = scan(scene, rig.lidar, time_s)
    return SimulatedFrame(
        scene=scene.index,
        index=index,
        time_s=time_s,
        scan=keyframe,
        images={camera.name: expose(scene, camera, time_s + camera.delay_s) for camera in rig.cameras},
        objects=tuple(_as_annotated(scene, rig.lidar, keyframe)),
        sweeps=tuple(scan(scene, rig.lidar, time_s - back * step_s) for back in between),
    )


def _as_annotated(scene: Scene, lidar: LidarModel, keyframe: LidarScan) -> list[ObjectState]:
    """Objects in the boxes that annotators would fit to the sweep's points."""
    states = []
    for state in scene.objects_at(keyframe.time_s):
        first_s, last_s = _met_s(keyframe.fired_s[keyframe.instance == state.instance], lidar)
        late_s = (first_s + last_s) / 2
        # Of a tight box, noise puts half the points of a flat side outside. Below is the road, so none there.
        room_m = ROOM * lidar.noise_m * np.array([2, 2, 1])
        room_m[0] += np.linalg.norm(state.velocity_world_mps) * (last_s - first_s)  # it drove on while it was met
        states.append(
            dataclasses.replace(
                state,
                time_s=keyframe.time_s + late_s,
                centre_world_m=state.centre_world_m + late_s * state.velocity_world_mps + [0, 0, room_m[2] / 2],
                size_lwh_m=state.size_lwh_m + room_m,
            )
        )
    return states


def _met_s(fired_s: np.ndarray, lidar: LidarModel) -> tuple[float, float]:
    """First and last time that beams met an object; at the seam of a revolution, of the part with more points."""
    if not len(fired_s):
        return 0.0, 0.0
    if np.ptp(fired_s) > lidar.period_s / 2:
        early = fired_s < (fired_s.min() + fired_s.max()) / 2
        fired_s = fired_s[early] if early.sum() * 2 >= len(fired_s) else fired_s[~early]
    return float(fired_s.min()), float(fired_s.max())
