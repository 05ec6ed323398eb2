from .crop import load_operations as load_operations
from .function import roi_crop as roi_crop
from .layer import RoiCrop as RoiCrop
from .library import operation_library as operation_library
from .reference import roi_crop_keras as roi_crop_keras
