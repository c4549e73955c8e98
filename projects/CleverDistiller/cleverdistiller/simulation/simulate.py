"""One frame of one rig."""

from __future__ import annotations

import dataclasses

from cleverdistiller.simulation.camera import expose
from cleverdistiller.simulation.frame import LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.lidar import scan
from cleverdistiller.simulation.rigs import Rig
from cleverdistiller.simulation.scene import Scene


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
        objects=tuple(_objects_as_scanned(scene, keyframe)),
        sweeps=tuple(scan(scene, rig.lidar, time_s - back * step_s) for back in between),
    )


def _objects_as_scanned(scene: Scene, keyframe: LidarScan) -> list[ObjectState]:
    """Objects where the beams met them: annotators fit boxes to points, and a revolution takes time."""
    states = []
    for state in scene.objects_at(keyframe.time_s):
        mine = keyframe.instance == state.instance
        if mine.any():
            late_s = float(keyframe.fired_s[mine].mean())
            state = dataclasses.replace(
                state, centre_world_m=state.centre_world_m + late_s * state.velocity_world_mps
            )
        states.append(state)
    return states
