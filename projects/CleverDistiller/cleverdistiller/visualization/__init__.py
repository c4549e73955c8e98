from cleverdistiller.visualization.frame_sheet import draw_frame
from cleverdistiller.visualization.frame_view import FrameView
from cleverdistiller.visualization.pairs import draw_pairs

__all__ = ['FrameView', 'draw_frame', 'draw_pairs']
