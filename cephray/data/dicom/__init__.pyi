from .decode import DICOM_SUFFIXES as DICOM_SUFFIXES
from .decode import decode_dicom as decode_dicom
from .decode import is_dicom as is_dicom
from .decode import read_dicom_spacing as read_dicom_spacing
from .grey import used_bits as used_bits
