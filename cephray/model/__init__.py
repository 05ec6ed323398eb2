"""The two-stage network, written in keras.layers and keras.ops alone."""
