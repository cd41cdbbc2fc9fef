"""torchvision imports beside any torch, and what its library would compute is computed."""

from __future__ import annotations

import subprocess
import sys


def test_torchvision_imports_and_works_after_any_of_our_models_was_named() -> None:
    script = (
        "import pipeline.models, torch, torchvision\n"
        "from torchvision.ops import batched_nms, nms\n"
        "boxes = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]])\n"
        "scores = torch.tensor([0.5, 0.9, 0.1])\n"
        "assert nms(boxes, scores, 0.5).tolist() == [1, 2]\n"
        "assert batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]\n"
        "from torchvision.ops import roi_align\n"
        "ramp = torch.arange(16.).reshape(1, 1, 1, 16).expand(1, 1, 8, 16).requires_grad_()\n"
        "pooled = roi_align(ramp, [torch.tensor([[2., 1, 6, 5]])], 2, sampling_ratio=2)\n"
        "assert pooled.tolist() == [[[[3, 5], [3, 5]]]]\n"
        "pooled.sum().backward()\n"
        "assert 'torch._inductor.compile_fx' not in __import__('sys').modules\n"
        "net = torchvision.models.resnet18(weights=None).eval()\n"
        "assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
