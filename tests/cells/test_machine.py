import os
import subprocess
import sys

import torch

from boundcheck.cells.machine import machine

PRINTED = "from boundcheck.cells.machine import machine; print(machine()['instruction_set'], machine()['variables'])"


def test_it_names_processor_instructions_and_build():
    known = machine()
    assert known["instruction_set"] == torch.backends.cpu.get_cpu_capability()
    assert known["torch"] == torch.__version__
    assert all(known.values())


def test_another_instruction_set_is_another_machine(root):
    variables = {"PYTHONPATH": str(root / "src"), "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run(
        [sys.executable, "-c", PRINTED], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["DEFAULT", "ATEN_CPU_CAPABILITY=default"]
