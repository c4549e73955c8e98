from cleverdistiller.models.heads.also_occupancy_head import ALSOOccupancyHead
from cleverdistiller.models.heads.dino_head import DINOHead
from cleverdistiller.models.heads.linear_head import LinearHead
from cleverdistiller.models.heads.mlp_head import MLPHead

__all__ = ['ALSOOccupancyHead', 'DINOHead', 'LinearHead', 'MLPHead']
