"""Drawn lateral cephalograms with known landmarks.

A drawn head copies no patient. It knows no network.
"""
