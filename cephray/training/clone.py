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
        model: A functional model.
        rules: For each layer the first that returns a replacement decides. The replacement must
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

    input_layers = [layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]

    def clone_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
        [layer] = [one for one in input_layers if one.output is tensor]
        return keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=layer.name,
            optional=layer.optional,  # Keras's own copies of inputs would lose this
        )

    inputs = keras.tree.map_structure(clone_input, model.input)
    copy = keras.models.clone_model(model, inputs, clone_function=clone)
    values = {variable.path: variable for variable in model.variables}
    for variable in copy.variables:
        variable.assign(values[variable.path])
    return copy
