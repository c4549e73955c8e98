from cleverdistiller.models.students.minkunet_student import MinkUNetStudent

__all__ = ['MinkUNetStudent']
