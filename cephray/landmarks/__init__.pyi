from .files import ISBI2015 as ISBI2015
from .files import is_file_name as is_file_name
from .files import landmark_set as landmark_set
from .files import landmark_set_names as landmark_set_names
from .sets import SYNONYMS as SYNONYMS
from .sets import Landmark as Landmark
from .sets import LandmarkSet as LandmarkSet
from .sets import TracingLine as TracingLine
