"""How good a result is: depth, its confidence, the all-in-focus picture, and measurements in millimetres."""

from dff.metrics.confidence import (
    ConfidenceQuality,
    Reliability,
    confidence_quality,
    reliability,
    sparsification,
)
from dff.metrics.depth import (
    BoundRatio,
    DepthErrors,
    bumpiness,
    depth_errors,
    depth_errors_by_region,
    error_over_bound,
    interpolation_bias,
    occlusion_edges,
)
from dff.metrics.fit import LineFit, PlaneFit, SimilarityFit, fit_line, fit_plane, fit_similarity
from dff.metrics.fusion import (
    FusionQuality,
    edge_preservation,
    fusion_quality,
    normalised_mutual_information,
    perceptual_contrast,
    structural_transfer,
)
from dff.metrics.picture import psnr, ssim, ssim_map, visual_information

__all__ = [
    "BoundRatio",
    "ConfidenceQuality",
    "DepthErrors",
    "FusionQuality",
    "LineFit",
    "PlaneFit",
    "Reliability",
    "SimilarityFit",
    "bumpiness",
    "confidence_quality",
    "depth_errors",
    "depth_errors_by_region",
    "edge_preservation",
    "error_over_bound",
    "fit_line",
    "fit_plane",
    "fit_similarity",
    "fusion_quality",
    "interpolation_bias",
    "normalised_mutual_information",
    "occlusion_edges",
    "perceptual_contrast",
    "psnr",
    "reliability",
    "sparsification",
    "ssim",
    "ssim_map",
    "structural_transfer",
    "visual_information",
]
