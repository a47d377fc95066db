"""The Python side of `npm run bench -- sample`: the same pictures by diffusers, in a process of its own. Prints one JSON line."""
import argparse
import json
import os
import resource
import time

started = time.perf_counter()
p = argparse.ArgumentParser()
for name in ("model", "prompt", "out"):
    p.add_argument("--" + name, required=True)
for name in ("steps", "height", "width", "threads", "seed"):
    p.add_argument("--" + name, type=int, required=True)
p.add_argument("--guidance", type=float, required=True)
p.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
p.add_argument("--device", default="cpu")
p.add_argument("--t5-length", type=int, default=256)
a = p.parse_args()

import torch
from diffusers import StableDiffusion3Pipeline

torch.set_num_threads(a.threads)
imported = time.perf_counter()
dtype = torch.bfloat16 if a.dtype == "bf16" else torch.float32
# diffusers wants to be told that a model comes without T5.
without_t5 = {} if os.path.isdir(os.path.join(a.model, "text_encoder_3")) else {"text_encoder_3": None, "tokenizer_3": None}
pipe = StableDiffusion3Pipeline.from_pretrained(a.model, torch_dtype=dtype, local_files_only=True, **without_t5)
pipe = pipe.to(a.device)
pipe.set_progress_bar_config(disable=True)
loaded = time.perf_counter()
ends = []


def on_step(_pipe, _i, _t, kwargs):
    if a.device != "cpu":
        torch.cuda.synchronize()
    ends.append(time.perf_counter())
    return kwargs


image = pipe(a.prompt, num_inference_steps=a.steps, height=a.height, width=a.width, guidance_scale=a.guidance,
             max_sequence_length=a.t5_length, generator=torch.Generator("cpu").manual_seed(a.seed), callback_on_step_end=on_step).images[0]
image.save(a.out)
done = time.perf_counter()
steps = [b - c for b, c in zip(ends[1:], ends)]
print(json.dumps({
    "import_s": imported - started, "load_s": loaded - imported, "total_s": done - started,
    "seconds_per_step": sorted(steps)[len(steps) // 2] if steps else None,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "gpu_peak_mb": torch.cuda.max_memory_allocated() / 2**20 if a.device != "cpu" else None,
}))
