"""The Python side of `npm run bench -- sample --k K`: step-wise sampling written plainly with diffusers' parts. All pictures
in one batch, all candidates in one pass of the reward model. Prints one JSON line."""
import argparse
import json
import math
import os
import time

p = argparse.ArgumentParser()
for name in ("model", "prompt", "reward"):
    p.add_argument("--" + name, required=True)
for name in ("steps", "height", "width", "threads", "seed", "n", "k"):
    p.add_argument("--" + name, type=int, required=True)
p.add_argument("--guidance", type=float, required=True)
p.add_argument("--noise-level", type=float, default=0.7)
p.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
p.add_argument("--device", default="cpu")
p.add_argument("--t5-length", type=int, default=256)
a = p.parse_args()

import torch
from diffusers import StableDiffusion3Pipeline
from reward_model import Reward

torch.set_num_threads(a.threads)
torch.set_grad_enabled(False)
dtype = torch.bfloat16 if a.dtype == "bf16" else torch.float32
without_t5 = {} if os.path.isdir(os.path.join(a.model, "text_encoder_3")) else {"text_encoder_3": None, "tokenizer_3": None}
pipe = StableDiffusion3Pipeline.from_pretrained(a.model, torch_dtype=dtype, local_files_only=True, **without_t5).to(a.device)
reward = Reward(a.reward).to(a.device, dtype).eval()


def synchronize():
    if a.device != "cpu":
        torch.cuda.synchronize()


def sample():
    context, negative, pooled, negative_pooled = pipe.encode_prompt(a.prompt, a.prompt, a.prompt, max_sequence_length=max(a.t5_length, 1), num_images_per_prompt=a.n)
    if a.t5_length == 0:  # a model without T5 that was trained without its zeros
        context, negative = context[:, :-1], negative[:, :-1]
    both, both_pooled = torch.cat([negative, context]), torch.cat([negative_pooled, pooled])
    of_candidates, of_candidates_pooled = context.repeat_interleave(a.k, 0), pooled.repeat_interleave(a.k, 0)
    generator = torch.Generator(a.device).manual_seed(a.seed)
    channels = pipe.transformer.config.in_channels
    shape = (a.n, channels, a.height // pipe.vae_scale_factor, a.width // pipe.vae_scale_factor)
    x = torch.randn(shape, generator=generator, device=a.device)
    pipe.scheduler.set_timesteps(a.steps, device=a.device)
    sigmas = pipe.scheduler.sigmas.tolist()
    synchronize()
    started = time.perf_counter()
    for i in range(a.steps):
        t, t_next = sigmas[i], sigmas[i + 1]
        timestep = torch.full((2 * a.n,), 1000 * t, device=a.device)
        v = pipe.transformer(hidden_states=torch.cat([x, x]).to(dtype), timestep=timestep, encoder_hidden_states=both, pooled_projections=both_pooled, return_dict=False)[0].float()
        u, c = v.chunk(2)
        v = u + a.guidance * (c - u)
        dt = t_next - t
        if a.k == 1 or i + 1 == a.steps:
            x = x + dt * v
            continue
        std = a.noise_level * math.sqrt(t / (1 - (sigmas[1] if t == 1 else t)))
        mean = x * (1 + std**2 / (2 * t) * dt) + v * (1 + std**2 * (1 - t) / (2 * t)) * dt
        noise = torch.randn((a.n, a.k, *shape[1:]), generator=generator, device=a.device)
        candidates = mean[:, None] + std * math.sqrt(-dt) * noise
        log_prob = (-((candidates - mean[:, None]) ** 2) / (2 * std**2 * -dt) - math.log(std * math.sqrt(-dt)) - math.log(math.sqrt(2 * math.pi))).mean((2, 3, 4))
        assert log_prob.shape == (a.n, a.k)
        rows = candidates.flatten(0, 1)
        scores = reward(rows.to(dtype), torch.full((a.n * a.k,), 1000 * t_next, device=a.device), of_candidates, of_candidates_pooled)
        best = scores.float().view(a.n, a.k).argmax(1)
        x = candidates[torch.arange(a.n, device=a.device), best]
    synchronize()
    denoised = time.perf_counter() - started
    latents = (x / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor).to(dtype)
    for row in latents:
        pipe.image_processor.postprocess(pipe.vae.decode(row[None], return_dict=False)[0], output_type="pil")
    return denoised


started = time.perf_counter()
denoised = sample()
total = time.perf_counter() - started
print(json.dumps({"seconds_per_picture": total / a.n, "denoise_s": denoised}))
