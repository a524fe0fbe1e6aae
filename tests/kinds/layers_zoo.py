"""Every layer and activation of Keras that a vision model can hold, each in a model around it.

A picture passes a convolution, then the layer, then a Dense layer that reads every place of what
comes out: a value that is wrong, or lies elsewhere, changes the scores. What works on pictures
stands in front of the convolution instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from kinds.drawing import gratings, indices
from kinds.kind import Draw, Kind, Out

SIDE, WIDTH = 16, 8  # of the picture in pixels, of the convolution in channels
LEVELS = 9  # of an index that is embedded
Layer = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """One layer in one form.

    Attributes:
        layer: its class in keras.layers, or the name of an activation.
        form: what is special about it, for a reader; together they are the name.
        apply: a tensor -> what the layer makes of it.
        enters: what the layer gets, a key of VIEWS.
    """

    layer: str
    form: str
    apply: Layer
    enters: str = "plane"

    @property
    def name(self) -> str:
        """Of the kind: letters, digits and "_"."""
        words = f"layer {self.layer} {self.form}".replace("-", " ").replace(",", "").split()
        return "_".join(words).lower()


def _plane(image: Any) -> Any:
    return layers.Conv2D(WIDTH, 3, 2, padding="same")(image)  # B 8 8 C


def _line(image: Any) -> Any:
    return layers.Reshape((16, WIDTH))(layers.Conv2D(WIDTH, 4, 4)(image))  # B N C


def _space(image: Any) -> Any:
    return layers.Reshape((4, 4, 4, WIDTH))(_plane(image))  # B T H W C


def _steps(image: Any) -> Any:
    return layers.Reshape((4, 16, WIDTH))(_plane(image))  # B T N C


def _vector(image: Any) -> Any:
    return layers.Flatten()(layers.Conv2D(4, 4, 4)(image))  # B 64


# What enters a layer, made of a picture.
VIEWS: dict[str, Layer] = {
    "plane": _plane,
    "line": _line,
    "space": _space,
    "steps": _steps,
    "vector": _vector,
    "picture": lambda image: image,
}


def _beside(merge: layers.Layer) -> Layer:
    """A layer that merges a tensor with a convolution of it."""
    return lambda x: merge([x, layers.Conv2D(WIDTH, 1)(x)])


def _attend(layer: layers.Layer, **options: Any) -> Layer:
    return lambda x: layer(x, layers.Dense(WIDTH)(x), **options)


def _attend_list(layer: layers.Layer) -> Layer:
    return lambda x: layer([x, layers.Dense(WIDTH)(x)])


def _adapted(x: Any) -> Any:
    norm = layers.Normalization(axis=-1)
    norm.adapt(gratings(SIDE, SIDE)(64, 77).astype(np.float32))
    return norm(x)


def _convolutions() -> tuple[Row, ...]:
    same: dict[str, Any] = {"padding": "same"}
    return (
        Row("Conv1D", "", layers.Conv1D(8, 3), "line"),
        Row("Conv1D", "strided", layers.Conv1D(8, 3, 2, **same), "line"),
        Row("Conv1D", "causal", layers.Conv1D(8, 3, padding="causal"), "line"),
        Row("Conv1D", "dilated", layers.Conv1D(8, 3, dilation_rate=2, **same), "line"),
        Row("Conv1D", "grouped", layers.Conv1D(8, 3, groups=4), "line"),
        Row("Conv2D", "", layers.Conv2D(8, 3)),
        Row("Conv2D", "strided", layers.Conv2D(8, 3, 2, **same)),
        Row("Conv2D", "other strides", layers.Conv2D(8, (1, 5), (2, 1), **same)),
        Row("Conv2D", "dilated", layers.Conv2D(8, 3, dilation_rate=2, **same)),
        Row("Conv2D", "grouped", layers.Conv2D(16, 3, groups=4)),
        Row("Conv2D", "grouped and dilated", layers.Conv2D(8, 3, groups=2, dilation_rate=2)),
        Row("Conv2D", "no bias", layers.Conv2D(8, 1, use_bias=False)),
        Row("Conv3D", "", layers.Conv3D(8, 3, **same), "space"),
        Row("Conv3D", "strided", layers.Conv3D(8, 3, (1, 2, 2), **same), "space"),
        Row("Conv3D", "dilated", layers.Conv3D(8, 2, dilation_rate=2), "space"),
        Row("DepthwiseConv1D", "", layers.DepthwiseConv1D(3), "line"),
        Row("DepthwiseConv2D", "", layers.DepthwiseConv2D(3)),
        Row("DepthwiseConv2D", "strided", layers.DepthwiseConv2D(3, 2, **same)),
        Row("DepthwiseConv2D", "multiplied", layers.DepthwiseConv2D(3, depth_multiplier=2)),
        Row("DepthwiseConv2D", "dilated", layers.DepthwiseConv2D(3, dilation_rate=2)),
        Row("SeparableConv1D", "", layers.SeparableConv1D(12, 3), "line"),
        Row("SeparableConv2D", "", layers.SeparableConv2D(12, 3)),
        Row("SeparableConv2D", "strided", layers.SeparableConv2D(12, 3, 2, **same)),
        Row("Conv1DTranspose", "", layers.Conv1DTranspose(4, 3, 2, **same), "line"),
        Row("Conv2DTranspose", "", layers.Conv2DTranspose(4, 3, 2, **same)),
        Row("Conv2DTranspose", "valid", layers.Conv2DTranspose(4, 3, 2)),
        Row("Conv2DTranspose", "padded", layers.Conv2DTranspose(4, 3, 2, "same", 1)),
        Row("Conv3DTranspose", "", layers.Conv3DTranspose(4, 2, 2, **same), "space"),
    )


def _poolings() -> tuple[Row, ...]:
    enters = {1: "line", 2: "plane", 3: "space"}
    rows = []
    for rank, view in enters.items():
        for kind in ("Average", "Max"):
            pool = getattr(layers, f"{kind}Pooling{rank}D")
            rows.append(Row(pool.__name__, "", pool(2), view))
            rows.append(Row(pool.__name__, "overlapping", pool(3, 2, padding="same"), view))
            whole = getattr(layers, f"Global{kind}Pooling{rank}D")
            rows.append(Row(whole.__name__, "", whole(), view))
            adaptive = getattr(layers, f"Adaptive{kind}Pooling{rank}D")
            rows.append(Row(adaptive.__name__, "", adaptive(2), view))
            rows.append(Row(adaptive.__name__, "uneven", adaptive(3), view))
    kept = layers.GlobalAveragePooling2D(keepdims=True)
    return (*rows, Row("GlobalAveragePooling2D", "keeping axes", kept))


def _sizes() -> tuple[Row, ...]:
    bilinear: dict[str, Any] = {"interpolation": "bilinear"}
    bicubic: dict[str, Any] = {"interpolation": "bicubic"}
    return (
        Row("UpSampling1D", "", layers.UpSampling1D(2), "line"),
        Row("UpSampling2D", "", layers.UpSampling2D(2)),
        Row("UpSampling2D", "bilinear", layers.UpSampling2D(2, **bilinear)),
        Row("UpSampling2D", "bicubic", layers.UpSampling2D(2, **bicubic)),
        Row("UpSampling3D", "", layers.UpSampling3D((1, 2, 2)), "space"),
        Row("ZeroPadding1D", "", layers.ZeroPadding1D((1, 2)), "line"),
        Row("ZeroPadding2D", "", layers.ZeroPadding2D(((1, 2), (0, 1)))),
        Row("ZeroPadding3D", "", layers.ZeroPadding3D(1), "space"),
        Row("Cropping1D", "", layers.Cropping1D((1, 2)), "line"),
        Row("Cropping2D", "", layers.Cropping2D(((1, 2), (0, 1)))),
        Row("Cropping3D", "", layers.Cropping3D(1), "space"),
        Row("CenterCrop", "", layers.CenterCrop(10, 12), "picture"),
        Row("Resizing", "", layers.Resizing(10, 12), "picture"),
        Row("Resizing", "nearest", layers.Resizing(10, 12, "nearest"), "picture"),
        Row("Resizing", "bicubic", layers.Resizing(10, 12, "bicubic"), "picture"),
        Row("Resizing", "larger", layers.Resizing(24, 20), "picture"),
        Row("Resizing", "antialiased", layers.Resizing(10, 12, antialias=True), "picture"),
        Row("Resizing", "cropping", layers.Resizing(10, 12, crop_to_aspect_ratio=True), "picture"),
        Row("Resizing", "padding", layers.Resizing(10, 12, pad_to_aspect_ratio=True), "picture"),
    )


def _norms() -> tuple[Row, ...]:
    spectral = layers.SpectralNormalization
    return (
        Row("BatchNormalization", "", layers.BatchNormalization()),
        Row("BatchNormalization", "behind relu", lambda x: layers.BatchNormalization()(
            layers.ReLU()(x))),
        Row("BatchNormalization", "without scale", layers.BatchNormalization(scale=False)),
        Row("BatchNormalization", "another axis", layers.BatchNormalization(axis=1)),
        Row("LayerNormalization", "", layers.LayerNormalization()),
        Row("LayerNormalization", "tokens", layers.LayerNormalization(), "line"),
        Row("LayerNormalization", "several axes", layers.LayerNormalization(axis=(1, 2, 3))),
        Row("LayerNormalization", "without weights",
            layers.LayerNormalization(center=False, scale=False)),
        Row("GroupNormalization", "", layers.GroupNormalization(4)),
        Row("GroupNormalization", "instance", layers.GroupNormalization(-1)),
        Row("GroupNormalization", "one group", layers.GroupNormalization(1)),
        Row("RMSNormalization", "", layers.RMSNormalization()),
        Row("RMSNormalization", "tokens", layers.RMSNormalization(), "line"),
        Row("UnitNormalization", "", layers.UnitNormalization()),
        Row("UnitNormalization", "vector", layers.UnitNormalization(), "vector"),
        Row("SpectralNormalization", "", spectral(layers.Conv2D(8, 3))),
        Row("SpectralNormalization", "dense", spectral(layers.Dense(8)), "vector"),
        Row("Normalization", "", _adapted, "picture"),
        Row("Normalization", "given", layers.Normalization(
            mean=(120.0, 115.0, 100.0), variance=(60.0**2, 58.0**2, 57.0**2)), "picture"),
    )  # fmt: skip


def _attentions() -> tuple[Row, ...]:
    many = layers.MultiHeadAttention
    return (
        Row("Attention", "", _attend_list(layers.Attention()), "line"),
        Row("Attention", "scaled", _attend_list(layers.Attention(use_scale=True)), "line"),
        Row("Attention", "concat", _attend_list(layers.Attention(score_mode="concat")), "line"),
        Row("AdditiveAttention", "", _attend_list(layers.AdditiveAttention()), "line"),
        Row("MultiHeadAttention", "", lambda x: many(2, 4)(x, x), "line"),
        Row("MultiHeadAttention", "crossed", _attend(many(2, 4, value_dim=3)), "line"),
        Row("MultiHeadAttention", "causal", _attend(many(2, 4), use_causal_mask=True), "line"),
        Row("MultiHeadAttention", "with dropout", _attend(many(2, 4, dropout=0.1)), "line"),
        Row("MultiHeadAttention", "of rows", lambda x: many(2, 4, attention_axes=2)(x, x)),
        Row("GroupQueryAttention", "", _attend(layers.GroupQueryAttention(4, 4, 2)), "line"),
    )


def _merges() -> tuple[Row, ...]:
    names = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Concatenate")
    pair = [Row(name, "", _beside(getattr(layers, name)())) for name in names]
    turn = layers.Permute((2, 1))
    return (
        *pair,
        Row("Concatenate", "rows", _beside(layers.Concatenate(axis=1))),
        Row("Add", "broadcast", lambda x: layers.Add()(
            [x, layers.GlobalAveragePooling2D(keepdims=True)(x)])),
        Row("Multiply", "broadcast", lambda x: layers.Multiply()(
            [x, layers.Conv2D(1, 1, activation="sigmoid")(x)])),
        Row("Dot", "", lambda x: layers.Dot(2)([x, layers.Dense(WIDTH)(x)]), "line"),
        Row("Dot", "normalised",
            lambda x: layers.Dot(2, normalize=True)([x, layers.Dense(WIDTH)(x)]), "line"),
        Row("Flatten", "", layers.Flatten()),
        Row("Reshape", "", lambda x: layers.Conv2D(4, 3)(layers.Reshape((4, 16, WIDTH))(x))),
        Row("Permute", "", lambda x: layers.Conv1D(6, 1)(turn(x)), "line"),
        Row("Permute", "rank 4", layers.Permute((3, 1, 2))),
        Row("RepeatVector", "", layers.RepeatVector(3), "vector"),
        Row("Identity", "", layers.Identity()),
        Row("Lambda", "", layers.Lambda(lambda x: x * 2.0 + 1.0)),
        Row("Masking", "", layers.Masking(0.0), "line"),
    )  # fmt: skip


def _denses() -> tuple[Row, ...]:
    return (
        Row("Dense", "", layers.Dense(8), "vector"),
        Row("Dense", "of places", layers.Dense(6)),
        Row("EinsumDense", "", layers.EinsumDense("abc,cd->abd", (16, 6), bias_axes="d"), "line"),
        Row("EinsumDense", "over tokens", layers.EinsumDense("abc,bd->adc", (5, 8)), "line"),
        Row("Embedding", "", layers.Embedding(LEVELS, 4), "index"),
        Row("ReversibleEmbedding", "", layers.ReversibleEmbedding(LEVELS, 4), "index"),
        Row("Discretization", "", lambda x: layers.Embedding(4, 3)(
            layers.Discretization([-0.5, 0.0, 0.5])(x)), "vector"),
        Row("CategoryEncoding", "", layers.CategoryEncoding(LEVELS, "multi_hot"), "index"),
        Row("IntegerLookup", "", lambda x: layers.Embedding(12, 4)(
            layers.IntegerLookup(vocabulary=[1, 3, 5, 7])(x)), "index"),
    )  # fmt: skip


def _recurrents() -> tuple[Row, ...]:
    cells = [layers.LSTMCell(5), layers.LSTMCell(4)]
    return (
        Row("SimpleRNN", "", layers.SimpleRNN(6), "line"),
        Row("LSTM", "", layers.LSTM(6), "line"),
        Row("LSTM", "sequences", layers.LSTM(6, return_sequences=True), "line"),
        Row("LSTM", "backwards", layers.LSTM(6, go_backwards=True), "line"),
        Row("GRU", "", layers.GRU(6), "line"),
        Row("GRU", "reset before", layers.GRU(6, reset_after=False), "line"),
        Row("Bidirectional", "", layers.Bidirectional(layers.LSTM(4)), "line"),
        Row("RNN", "LSTMCell", layers.RNN(layers.LSTMCell(6)), "line"),
        Row("RNN", "GRUCell", layers.RNN(layers.GRUCell(6)), "line"),
        Row("RNN", "SimpleRNNCell", layers.RNN(layers.SimpleRNNCell(6)), "line"),
        Row("StackedRNNCells", "", layers.RNN(layers.StackedRNNCells(cells)), "line"),
        Row("TimeDistributed", "", layers.TimeDistributed(layers.Conv1D(4, 3)), "steps"),
        Row("ConvLSTM1D", "", layers.ConvLSTM1D(4, 3), "steps"),
        Row("ConvLSTM2D", "", layers.ConvLSTM2D(4, 3, padding="same"), "space"),
        Row("ConvLSTM3D", "", lambda x: layers.ConvLSTM3D(2, 2)(
            layers.Reshape((2, 2, 4, 4, WIDTH))(x)), "space"),
    )  # fmt: skip


def _activations() -> tuple[Row, ...]:
    names = (
        *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu"),
        *("hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu"),
        *("relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign"),
        *("sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh", "tanh_shrink"),
        "threshold",
    )
    # Keras' Activation layer knows neither its arguments, nor that one halves the channels.
    given: dict[str, Layer] = {
        "glu": keras.activations.glu,
        "threshold": lambda x: keras.activations.threshold(x, 0.2, 0.1),
    }
    return (
        *(Row(name, "activation", given.get(name) or layers.Activation(name)) for name in names),
        Row(
            "gelu", "activation, approximate", lambda x: keras.activations.gelu(x, approximate=True)
        ),
        Row("ReLU", "", layers.ReLU()),
        Row("ReLU", "of 6", layers.ReLU(6.0)),
        Row("ReLU", "leaky with a bound", layers.ReLU(2.0, 0.1, 0.2)),
        Row("LeakyReLU", "", layers.LeakyReLU(0.1)),
        Row("PReLU", "", layers.PReLU(shared_axes=(1, 2))),
        Row("PReLU", "of places", layers.PReLU()),
        Row("PReLU", "vector", layers.PReLU(), "vector"),
        Row("ELU", "", layers.ELU(0.7)),
        Row("Softmax", "", layers.Softmax()),
        Row("Softmax", "of places", layers.Softmax(axis=(1, 2))),
        Row("Activation", "", layers.Activation("relu")),
    )


def _of_training() -> tuple[Row, ...]:
    """What augments pictures or drops values while a model learns, and does nothing behind it."""
    one = (
        *("AutoContrast", "RandomGrayscale", "RandomInvert", "RandAugment"),
        *("AugMix", "CutMix", "MixUp", "RandomElasticTransform", "RandomGaussianBlur"),
        *("RandomErasing", "RandomPerspective", "ContrastLimitedAdaptiveHistogramEqualization"),
    )
    by_factor = ("RandomBrightness", "RandomContrast", "RandomRotation", "RandomZoom")
    colours = ("RandomHue", "RandomSaturation", "RandomSharpness", "RandomColorDegeneration")
    drops = ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D")
    made: dict[str, layers.Layer] = {name: getattr(layers, name)() for name in one}
    made |= {name: getattr(layers, name)(0.2) for name in by_factor}
    made |= {name: getattr(layers, name)(0.2, value_range=(0, 255)) for name in colours}
    made |= {
        "RandomColorJitter": layers.RandomColorJitter((0, 255), 0.2, 0.2),
        "RandomCrop": layers.RandomCrop(SIDE, SIDE),  # Keras crops to no other size behind training
        "RandomFlip": layers.RandomFlip(),
        "RandomPosterization": layers.RandomPosterization(4, value_range=(0, 255)),
        "RandomShear": layers.RandomShear(0.1, 0.1),
        "RandomTranslation": layers.RandomTranslation(0.1, 0.1),
        "Solarization": layers.Solarization(threshold_factor=0.5),
        "Rescaling": layers.Rescaling(1 / 127.5, offset=-1.0),
        "Pipeline": layers.Pipeline([layers.RandomFlip(), layers.Rescaling(1 / 255)]),
    }
    return (
        *(Row(name, "", layer, "picture") for name, layer in made.items()),
        *(Row(name, "", getattr(layers, name)(0.2)) for name in drops),
        Row("SpatialDropout1D", "", layers.SpatialDropout1D(0.2), "line"),
        Row("SpatialDropout3D", "", layers.SpatialDropout3D(0.2), "space"),
        Row("ActivityRegularization", "", layers.ActivityRegularization(0.1)),
    )


ROOMS: dict[str, Callable[[], tuple[Row, ...]]] = {
    "Convolutions": _convolutions,
    "Poolings": _poolings,
    "Sizes": _sizes,
    "Normalisations": _norms,
    "Attention": _attentions,
    "Merging and moving": _merges,
    "Dense and lookup": _denses,
    "Recurrent, of a fixed length": _recurrents,
    "Activations": _activations,
    "Of training and preprocessing": _of_training,
}


def _build(room: str, name: str) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        (row,) = (row for row in ROOMS[room]() if row.name == name)  # layers of its own
        image = keras.Input((SIDE, SIDE, 3), name="image")
        if row.enters == "index":
            index = keras.Input((3,), dtype="int32", name="index")
            found = layers.Flatten()(row.apply(index))
            x = layers.Concatenate()([found, layers.Flatten()(_plane(image))])
            return keras.Model([image, index], layers.Dense(6, name="scores")(x), name=name)
        x = row.apply(VIEWS[row.enters](image))
        if row.enters == "picture":
            x = _plane(x)
        x = layers.Flatten()(x) if len(x.shape) > 2 else x
        return keras.Model(image, layers.Dense(6, name="scores")(x), name=name)

    return build


def _kind(room: str, row: Row) -> Kind:
    inputs: dict[str, Draw] = {"image": gratings(SIDE, SIDE)}
    if row.enters == "index":
        inputs["index"] = indices(LEVELS, 3)
    about = f"{row.layer}, {row.form}" if row.form else row.layer
    scaling = "raw" if row.enters == "picture" else "signed"
    outputs = {"scores": Out("logits")}
    build = _build(room, row.name)
    return Kind(row.name, about, build, inputs, outputs, "classification", scaling)


BY_ROOM = {room: tuple(_kind(room, row) for row in rows()) for room, rows in ROOMS.items()}
KINDS = tuple(kind for kinds in BY_ROOM.values() for kind in kinds)
SHOWN = frozenset(row.layer for rows in ROOMS.values() for row in rows())
# Classes of keras.layers that are in no row.
SET_ASIDE: Mapping[str, str] = {
    **dict.fromkeys(
        ("GRUCell", "LSTMCell", "SimpleRNNCell"), "in the rows of RNN, which runs cells"
    ),
    **dict.fromkeys(("Layer", "Wrapper"), "to be subclassed"),
    **dict.fromkeys(
        ("FlaxLayer", "JaxLayer", "TorchModuleWrapper"), "of a backend that exports do not run on"
    ),
    "InputLayer": "in every row",
    "TFSMLayer": "a SavedModel in a layer; edgevit opens the SavedModel itself",
    **dict.fromkeys(
        ("Hashing", "HashedCrossing", "StringLookup", "TextVectorization"),
        "takes text or makes numbers of it before a model",
    ),
    **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), "takes sound"),
    "Equalization": "Keras renames the input of a model around it, which the table does not follow",
    "MaxNumBoundingBoxes": "prepares labels for training",
}
