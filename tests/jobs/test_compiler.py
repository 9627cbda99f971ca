"""A job starts without torch's compiler, and gets it when it asks for it."""

import subprocess
import sys

STEP = """
import sys, torch
from boundcheck.jobs.compiler import skip_compiler
skip_compiler()
net = torch.nn.Linear(3, 1)
for optimizer in (torch.optim.SGD(net.parameters(), 0.1, momentum=0.9), torch.optim.AdamW(net.parameters())):
    net(torch.ones(3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
torch.set_deterministic_debug_mode("warn")
print("torch._dynamo.convert_frame" in sys.modules)
"""
COMPILE = STEP + "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())"


def output_of(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_an_optimizer_imports_no_compiler():
    assert output_of(STEP) == ["False"]


def test_the_compiler_is_there_when_it_is_asked_for():
    assert output_of(COMPILE) == ["False", "2.0"]
