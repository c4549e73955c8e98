from cleverdistiller.visualization.readers.read_frame import FORMATS, detect_format, read_frame

__all__ = ['FORMATS', 'detect_format', 'read_frame']
