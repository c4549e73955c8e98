from cleverdistiller.downstream.segmentors.student_segmentor import StudentSegmentor

__all__ = ['StudentSegmentor']
