from cleverdistiller.visualization.detection_dataset import detected_frames
from cleverdistiller.visualization.detection_frame import DetectedFrame
from cleverdistiller.visualization.detection_sheet import draw_detections
from cleverdistiller.visualization.distilled_frame import DistilledFrame, ProjectedStudent
from cleverdistiller.visualization.feature_sheet import draw_features
from cleverdistiller.visualization.frame_sheet import draw_frame
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.pairs import draw_pairs
from cleverdistiller.visualization.segmentation_sheet import SegmentedFrame, draw_errors, draw_predictions
from cleverdistiller.visualization.similarity_sheet import draw_similarity

__all__ = [
    'DetectedFrame',
    'DistilledFrame',
    'FrameView',
    'ProjectedStudent',
    'SegmentedFrame',
    'detected_frames',
    'draw_detections',
    'draw_errors',
    'draw_features',
    'draw_frame',
    'draw_pairs',
    'draw_predictions',
    'draw_similarity',
]
