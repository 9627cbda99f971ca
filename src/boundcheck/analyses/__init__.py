"""Analyses: what is measured on a snapshot, one file each, found by kind."""

from boundcheck.registry import lazy

ANALYSES: dict[str, str] = {
    "hessian_spectrum": "boundcheck.analyses.hessian_spectrum:HessianSpectrum",
    "gradient_norm": "boundcheck.analyses.gradient_norm:GradientNorm",
    "flatness": "boundcheck.analyses.flatness:Flatness",
    "trace": "boundcheck.analyses.trace:Trace",
    "spectral_density": "boundcheck.analyses.spectral_density:SpectralDensity",
}

__getattr__ = lazy(__name__, ANALYSES)
