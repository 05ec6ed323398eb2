from .crop import roi_crop as roi_crop
from .reference import roi_crop_keras as roi_crop_keras
