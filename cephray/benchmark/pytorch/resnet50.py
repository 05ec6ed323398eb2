"""Time forward and backward of torchvision's ResNet50 on a GPU; the network is compiled.

    python resnet50.py '{"batch": 8, "height": 800, "width": 640, "half": true, "seconds": 6.0,
                         "queued": 8}'

The network has no classifier: the gradients come from the mean of its last feature map. Weights
are float32, in channels-last layout; with "half", it computes in bfloat16 (autocast), and
otherwise in float32 with TF32. "seconds" is for each direction, and "queued" the steps that are
started before the result of the last is waited for.

It needs PyTorch and torchvision, and nothing of cephray. The last line on stdout is a JSON object
with the fields of `cephray.benchmark.train_step_process.Measured`, or with a "reason" why nothing
was measured.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any


def main() -> None:
    """Read the case from the command line, and write the answer."""
    try:
        answer = measure(**json.loads(sys.argv[1]))
    except ImportError as error:
        answer = {"reason": f"{sys.executable}: {error}"}
    except Exception as error:  # PyTorch raises many classes, and each is a reason
        first_line = (str(error).strip().splitlines() or [""])[0]
        answer = {"reason": f"{type(error).__name__}: {first_line}"}
    print(json.dumps(answer))


def measure(
    batch: int, height: int, width: int, half: bool, seconds: float, queued: int
) -> dict[str, Any]:
    """Build, compile and time the network.

    Raises:
        ImportError: PyTorch or torchvision is missing.
        RuntimeError: there is no GPU, it has too little memory, or the network cannot be compiled.
    """
    import torch
    import torchvision

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no GPU")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # TF32, which convolutions use by default
    network = torchvision.models.resnet50(weights=None)
    features = torch.nn.Sequential(*list(network.children())[:-2])  # no pooling, no classifier
    features = features.to(device="cuda", memory_format=torch.channels_last).train()
    images = torch.rand((batch, 3, height, width), device="cuda")
    images = images.to(memory_format=torch.channels_last)
    compiled = torch.compile(features)

    def step() -> Any:
        features.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            found = compiled(images)
        loss = found.float().mean()
        loss.backward()
        return loss

    def timed(count: int) -> dict[str, Any]:
        times: list[float] = []
        began = time.time()
        while sum(times) * count < seconds or len(times) < 3:
            start = time.perf_counter()
            for _ in range(count):
                step()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / count)
        return {"times_s": times, "began_s": began, "ended_s": time.time()}

    start = time.perf_counter()
    loss = float(step())
    torch.cuda.synchronize()
    first_step_s = time.perf_counter() - start
    if not math.isfinite(loss):
        raise RuntimeError(f"the loss is {loss}")
    for _ in range(2):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return {
        "step": timed(1),
        "queued": timed(queued),
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "parameters": sum(p.numel() for p in features.parameters() if p.requires_grad),
        "first_step_s": first_step_s,
        "facts": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }


if __name__ == "__main__":
    main()
