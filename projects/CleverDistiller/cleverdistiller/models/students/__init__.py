from cleverdistiller.models.students.minkunet_student import MinkUNetStudent
from cleverdistiller.models.students.point_transformer_v3_student import PointTransformerV3Student

__all__ = ['MinkUNetStudent', 'PointTransformerV3Student']
