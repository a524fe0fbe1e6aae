"""Published networks of keras-hub, built from their configs: the vision families, smallest members.

Pictures are small, so that a run takes minutes. Where a published smallest is large, width or depth
is cut, and the row says so; blocks and operators are the published ones. Nothing is downloaded.
keras-hub comes with the extra ``hub``; it is imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kinds.drawing import gratings
from kinds.kind import Kind, Out

if TYPE_CHECKING:
    import keras

PACKAGE = "keras_hub"
SIDE = 64  # pixels
CLASSES = 10
MANY: Mapping[str, Any] = {"settled_on": 192, "calibrated_on": 192, "deep": True}
SHAPE = (SIDE, SIDE, 3)

VIT = {"image_shape": SHAPE, "patch_size": 16, "num_layers": 12, "num_heads": 3, "hidden_dim": 192}
SWIN = {"image_shape": SHAPE, "patch_size": 2, "window_size": 4, "embed_dim": 48,
        "depths": (2, 2, 2, 2), "num_heads": (3, 6, 12, 24)}  # fmt: skip
MIT = {"image_shape": SHAPE, "hidden_dims": [32, 64, 160, 256], "layerwise_depths": [2, 2, 2, 2],
       "num_layers": 4, "layerwise_num_heads": [1, 2, 5, 8], "layerwise_sr_ratios": [8, 4, 2, 1],
       "layerwise_patch_sizes": [7, 3, 3, 3], "layerwise_strides": [4, 2, 2, 2],
       "max_drop_path_rate": 0.1}  # fmt: skip
RESNET = {"image_shape": SHAPE, "stackwise_num_filters": [64, 128, 256, 512],
          "stackwise_num_blocks": [2, 2, 2, 2], "stackwise_num_strides": [1, 2, 2, 2],
          "input_conv_filters": [64], "input_conv_kernel_sizes": [7],
          "block_type": "basic_block"}  # fmt: skip
RESNET_VD = {**RESNET, "block_type": "basic_block_vd", "input_conv_filters": [32, 32, 64],
             "input_conv_kernel_sizes": [3, 3, 3]}  # fmt: skip
RESNET_V2 = {**RESNET, "block_type": "bottleneck_block", "use_pre_activation": True}
DENSENET = {"image_shape": SHAPE, "stackwise_num_repeats": [6, 12, 24, 16]}
CSP_DARKNET = {"image_shape": SHAPE, "stem_filters": 16, "stem_kernel_size": 3, "stem_strides": 1,
               "stackwise_depth": [1, 2, 8, 8, 4], "stackwise_strides": [2] * 5,
               "stackwise_num_filters": [32, 64, 128, 256, 512], "block_type": "dark_block",
               "stage_type": "csp", "bottle_ratio": (0.5, 1.0), "block_ratio": (1.0, 0.5),
               "expand_ratio": (2.0, 1.0), "stem_padding": "same",
               "down_growth": True}  # fmt: skip
CSP_RESNEXT = {"image_shape": SHAPE, "stem_filters": 32, "stem_kernel_size": 7, "stem_strides": 4,
               "stackwise_depth": [3, 3, 5, 2], "stackwise_strides": [1, 2, 2, 2],
               "stackwise_num_filters": [128, 256, 512, 1024], "block_type": "bottleneck_block",
               "stage_type": "csp", "groups": 32, "bottle_ratio": [1.0], "block_ratio": [0.5],
               "expand_ratio": [1.0], "stem_pooling": "max", "cross_linear": True}  # fmt: skip
HGNET = {"image_shape": SHAPE, "depths": [1, 1, 2, 1], "embedding_size": 16,
         "hidden_sizes": [64, 256, 512, 1024], "stem_channels": [3, 16, 16], "hidden_act": "relu",
         "use_learnable_affine_block": True,
         "stackwise_stage_filters": [[16, 16, 64, 1, 3, 3], [64, 32, 256, 1, 3, 3],
                                     [256, 64, 512, 2, 3, 5], [512, 128, 1024, 1, 3, 5]],
         "apply_downsample": [False, True, True, True],
         "use_lightweight_conv_block": [False, False, True, True]}  # fmt: skip
EFFICIENTNET = {"input_shape": SHAPE, "stackwise_width_coefficients": [1.0] * 7,
                "stackwise_depth_coefficients": [1.0] * 7,
                "stackwise_squeeze_and_excite_ratios": [0.25] * 7,
                "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
                "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
                "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
                "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
                "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
                "stackwise_strides": [1, 2, 2, 2, 1, 2, 1], "stackwise_block_types": ["v1"] * 7,
                "min_depth": None, "use_depth_divisor_as_min_depth": True,
                "cap_round_filter_decrease": True}  # fmt: skip
EFFICIENTNET_LITE = {**EFFICIENTNET, "stackwise_squeeze_and_excite_ratios": [0] * 7,
                     "activation": "relu6"}  # fmt: skip
EFFICIENTNET_ES = {"input_shape": SHAPE, "stackwise_width_coefficients": [1.0] * 6,
                   "stackwise_depth_coefficients": [1.0] * 6,
                   "stackwise_kernel_sizes": [3, 3, 3, 5, 5, 5],
                   "stackwise_num_repeats": [1, 2, 4, 5, 4, 2],
                   "stackwise_input_filters": [32, 24, 32, 48, 96, 144],
                   "stackwise_output_filters": [24, 32, 48, 96, 144, 192],
                   "stackwise_expansion_ratios": [4, 8, 8, 8, 8, 8],
                   "stackwise_strides": [1, 2, 2, 2, 1, 2],
                   "stackwise_squeeze_and_excite_ratios": [0] * 6,
                   "stackwise_block_types": ["fused"] * 3 + ["unfused"] * 3,
                   "stackwise_force_input_filters": [24, 0, 0, 0, 0, 0],
                   "stackwise_nores_option": [True] + [False] * 5, "activation": "relu",
                   "min_depth": None, "use_depth_divisor_as_min_depth": True,
                   "cap_round_filter_decrease": True}  # fmt: skip
MOBILENET_V3 = {"image_shape": SHAPE, "stackwise_num_blocks": [2, 3, 2, 3],
                "stackwise_expansion": [[40, 56], [64, 144, 144], [72, 72], [144, 288, 288]],
                "stackwise_num_filters": [[16, 16], [24, 24, 24], [24, 24], [48, 48, 48]],
                "stackwise_kernel_size": [[3, 3], [5, 5, 5], [5, 5], [5, 5, 5]],
                "stackwise_num_strides": [[2, 1], [2, 1, 1], [1, 1], [2, 1, 1]],
                "stackwise_se_ratio": [[None, None], [0.25] * 3, [0.25] * 2, [0.25] * 3],
                "stackwise_activation": [["relu"] * 2, ["hard_swish"] * 3, ["hard_swish"] * 2,
                                         ["hard_swish"] * 3],
                "stackwise_padding": [[1, 1], [2, 2, 2], [2, 2], [2, 2, 2]],
                "output_num_filters": 1024, "input_num_filters": 16, "depthwise_filters": 8,
                "depthwise_stride": 2, "depthwise_residual": False, "squeeze_and_excite": 0.5,
                "last_layer_filter": 288}  # fmt: skip
# The blocks of mobilenetv5_300m, an eighth as wide, and of each run of equal blocks one or two.
MOBILENET_V5_BLOCKS = [
    ["er_r1_k3_s2_e4_c16", "er_r1_k3_s1_e4_c16"],
    ["uir_r1_a3_k5_s2_e6_c32", "uir_r1_a5_k0_s1_e4_c32", "uir_r1_a3_k0_s1_e4_c32"],
    ["uir_r1_a5_k5_s2_e6_c80", "uir_r1_a5_k0_s1_e4_c80", "uir_r1_a0_k0_s1_e1_c80",
     "mqa_r1_k3_h4_v2_s1_d16_c80", "uir_r1_a0_k0_s1_e2_c80"],
    ["uir_r1_a5_k5_s2_e6_c160", "mqa_r1_k3_h4_s1_d24_c160", "uir_r1_a0_k0_s1_e2_c160"],
]  # fmt: skip
MOBILENET_V5 = {"image_shape": SHAPE, "stem_size": 16, "num_features": 256, "act_layer": "gelu",
                "norm_layer": "rms_norm", "msfa_output_resolution": 4,
                "layer_scale_init_value": 1e-5}  # fmt: skip


def classifier(family: str, config: Mapping[str, Any], **options: Any) -> keras.Model:
    """An image classifier of keras-hub with fresh weights.

    Args:
        family: as its classes begin, such as "ViT".
        config: of the backbone.
        options: further arguments of the classifier.
    """
    from keras_hub import models

    backbone = getattr(models, f"{family}Backbone")(**config)
    return getattr(models, f"{family}ImageClassifier")(
        backbone=backbone, num_classes=CLASSES, preprocessor=None, **options
    )


def mobilenet_v5() -> keras.Model:
    from keras_hub.src.models.mobilenetv5.mobilenetv5_builder import convert_arch_def_to_stackwise

    blocks = convert_arch_def_to_stackwise(MOBILENET_V5_BLOCKS)
    return classifier("MobileNetV5", {**blocks, **MOBILENET_V5})


def segformer() -> keras.Model:
    """SegFormer on MiT-B0, which paints 10 classes."""
    from keras_hub import models

    encoder = models.MiTBackbone(**MIT)
    backbone = models.SegFormerBackbone(image_encoder=encoder, projection_filters=256)
    model = models.SegFormerImageSegmenter(backbone=backbone, num_classes=CLASSES)
    model.output_names = ["resizing"]  # without the number that depends on what was built before
    return model


def _row(name: str, about: str, build: Any, entering: str, scaling: str, **given: Any) -> Kind:
    output = given.pop("output", "predictions")
    return Kind(f"hub_{name}", about, build, {entering: gratings(SIDE, SIDE)},
                {output: Out("logits", 0.0)}, "classification", scaling,
                **{**MANY, "head": output, "package": PACKAGE, **given})  # fmt: skip


def _family(
    name: str, about: str, family: str, config: Mapping[str, Any], scaling: str, **options: Any
) -> Kind:
    entering = options.pop("entering", "images")
    return _row(name, about, lambda: classifier(family, config, **options), entering, scaling)


KINDS = (
    _family("vit", "ViT-Ti/16", "ViT", {**VIT, "mlp_dim": 768}, "signed"),
    _family("deit", "DeiT-Ti/16, with its two tokens", "DeiT", {**VIT, "intermediate_dim": 768},
            "imagenet"),
    _family("swin", "Swin, half of Swin-T's width, 2 blocks a stage, windows of 4",
            "SwinTransformer", SWIN, "imagenet"),
    _family("mit", "MiT-B0, the encoder of SegFormer", "MiT", MIT, "imagenet"),
    _family("mobilenetv3", "MobileNetV3-Small, width 0.5", "MobileNet", MOBILENET_V3, "imagenet"),
    _row("mobilenetv5", "MobileNetV5, an eighth of 300M's width, 13 blocks", mobilenet_v5,
         "images", "unit", output="classifier"),
    _family("resnet", "ResNet-18", "ResNet", RESNET, "imagenet"),
    _family("resnet_vd", "ResNet-18 vd", "ResNet", RESNET_VD, "imagenet"),
    _family("resnet_v2", "ResNetV2 of 26 layers", "ResNet", RESNET_V2, "signed"),
    _family("densenet", "DenseNet-121", "DenseNet", DENSENET, "imagenet"),
    _family("efficientnet", "EfficientNet-B0", "EfficientNet", EFFICIENTNET, "imagenet"),
    _family("efficientnet_lite", "EfficientNet-Lite0", "EfficientNet", EFFICIENTNET_LITE,
            "imagenet"),
    _family("efficientnet_es", "EfficientNet-ES, for Edge TPUs", "EfficientNet", EFFICIENTNET_ES,
            "imagenet"),
    _family("csp_darknet", "CSPDarkNet-53, half as wide", "CSPNet", CSP_DARKNET, "imagenet"),
    _family("csp_resnext", "CSPResNeXt-50, half as wide, 32 groups", "CSPNet", CSP_RESNEXT,
            "imagenet"),
    _family("hgnetv2", "HGNetV2-B0", "HGNetV2", HGNET, "imagenet", entering="pixel_values_input"),
    Kind("hub_segformer", "SegFormer on MiT-B0, a segmentation", segformer,
         {"images": gratings(SIDE, SIDE)}, {"resizing": Out("mask", 0.0)}, "segmentation",
         "imagenet", package=PACKAGE, **MANY),
)  # fmt: skip
