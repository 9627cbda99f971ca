"""Analyses: what is measured on a snapshot, one file each, found by kind."""

from boundcheck.registry import lazy

ANALYSES: dict[str, str] = {
    "hessian_spectrum": "boundcheck.analyses.hessian_spectrum:HessianSpectrum",
    "gradient_norm": "boundcheck.analyses.gradient_norm:GradientNorm",
    "flatness": "boundcheck.analyses.flatness:Flatness",
    "trace": "boundcheck.analyses.trace:Trace",
    "spectral_density": "boundcheck.analyses.spectral_density:SpectralDensity",
    "weight_noise": "boundcheck.analyses.weight_noise:WeightNoise",
    "rescaling": "boundcheck.analyses.rescaling:Rescaling",
    "reconstruction": "boundcheck.analyses.reconstruction:ReconstructionQuality",
    "hessian_path_bound": "boundcheck.analyses.hessian_path_bound:HessianPathBound",
    "predictor_hessian": "boundcheck.analyses.predictor_hessian:PredictorHessian",
    "row_scaling": "boundcheck.analyses.row_scaling:RowScaling",
    "restricted_convexity": "boundcheck.analyses.restricted_convexity:RestrictedConvexity",
    "generalisation_gap": "boundcheck.analyses.generalisation_gap:GeneralisationGap",
}

__getattr__ = lazy(__name__, ANALYSES)
