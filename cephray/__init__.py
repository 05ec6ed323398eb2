"""Distributed cephalometric landmark detection: a two-stage network on TensorFlow and Ray.

Importing it is quick: TensorFlow, Keras, Ray and OpenCV are imported where they are used.
"""

__version__ = "0.1.0"
