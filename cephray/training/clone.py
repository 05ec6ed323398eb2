"""Copies of a network in which some layers are replaced by others with the same weights.

It knows layers by their class, and nothing of films or workers.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

Rule = Callable[[keras.layers.Layer], keras.layers.Layer | None]
"""Returns the layer that replaces a layer, or None if the rule leaves it as it is."""


def replace_layers(model: keras.Model, *rules: Rule) -> keras.Model:
    """Copy a network, with some of its layers replaced.

    Args:
        model: a functional model whose inputs are a dictionary.
        rules: for each layer the first that returns a replacement decides. The replacement must
            have the name and the variables of the layer.

    Returns:
        A model with the same names and values of variables, random seeds included.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        for rule in rules:
            replacement = rule(layer)
            if replacement is not None:
                return replacement
        return layer.__class__.from_config(layer.get_config())

    inputs = {
        name: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=tensor.name,
            optional=model.get_layer(tensor.name).optional,  # Keras's own copies would lose this
        )
        for name, tensor in model.input.items()
    }
    copy = keras.models.clone_model(model, inputs, clone_function=clone)
    values = {variable.path: variable for variable in model.variables}
    for variable in copy.variables:
        variable.assign(values[variable.path])
    return copy
