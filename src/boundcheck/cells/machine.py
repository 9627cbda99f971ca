"""What of a machine decides the last bits of a result."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

import torch

VARIABLES = (  # of the environment: they choose the instructions and the precision of torch, MKL and oneDNN
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)


@cache
def machine() -> dict[str, str]:
    """Processor, instruction set, build of torch and its libraries, and the variables that choose between kernels.

    Results are equal bit for bit where all of it is equal, with the same number of threads.
    """
    build = torch.__config__.show()
    libraries = [line.strip(" -").partition(" for ")[0] for line in build.splitlines() if "MKL" in line]
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "torch_build": hashlib.sha256(build.encode()).hexdigest()[:16],
        "libraries": "; ".join(line for line in libraries if len(line) < 100),
        "variables": ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ) or "none",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def _processor() -> str:
    """The name of the processor's model, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "not known"
