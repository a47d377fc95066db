"""Step-wise sampling of SD3.5-Medium's size written plainly with diffusers' transformer, random weights drawn on the GPU:
what `drm_full_size`'s stage "sample" is compared with. Prints JSON lines of the same form.

  python3 torch_loop.py [--steps 50] [--compile]
"""
import argparse
import json
import math
import time

import torch
from diffusers import SD3Transformer2DModel
from torch import nn

p = argparse.ArgumentParser()
p.add_argument("--steps", type=int, default=50)
p.add_argument("--compile", action="store_true")
a = p.parse_args()

torch.set_grad_enabled(False)
device, dtype = "cuda", torch.bfloat16
TEXT, GUIDANCE, NOISE, KEPT = 333, 4.5, 0.7, 21


def drawn(module):
    module = module.to_empty(device=device).to(dtype).eval()
    for name, t in [*module.named_parameters(), *module.named_buffers()]:
        t.normal_(0, t[0].numel() ** -0.5) if t.dim() > 1 else t.fill_(0 if name.endswith("bias") else 1)
    return module


def transformer(blocks):
    with torch.device("meta"):
        m = SD3Transformer2DModel(
            sample_size=128, patch_size=2, in_channels=16, num_layers=24, attention_head_dim=64, num_attention_heads=24,
            joint_attention_dim=4096, caption_projection_dim=1536, pooled_projection_dim=2048, out_channels=16,
            pos_embed_max_size=384, dual_attention_layers=tuple(range(13)), qk_norm="rms_norm")
        m.transformer_blocks = m.transformer_blocks[:blocks]
    return drawn(m)


class Reward(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = transformer(KEPT)
        widths = [16, 256, 512, 512]
        with torch.device("meta"):
            layers = [[nn.Conv2d(i, o, 3, stride=2, padding=1), nn.GroupNorm(32, o), nn.ReLU()] for i, o in zip(widths, widths[1:])]
            self.down = nn.Sequential(*[layer for group in layers for layer in group])
            self.mlp = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1))
        drawn(self.down), drawn(self.mlp)

    def forward(self, x, timestep, context, pooled):
        f = self.backbone(hidden_states=x, timestep=timestep, encoder_hidden_states=context, pooled_projections=pooled, return_dict=False)[0]
        return self.mlp(self.down(f).mean((2, 3)))[:, 0]


policy, reward = transformer(24), Reward()
if a.compile:
    policy, reward = torch.compile(policy), torch.compile(reward)


def picture(k, steps):
    context, pooled = torch.randn(2, TEXT, 4096, device=device, dtype=dtype), torch.randn(2, 2048, device=device, dtype=dtype)
    of_candidates, of_candidates_pooled = context[1:].expand(k, -1, -1), pooled[1:].expand(k, -1)
    grid = torch.linspace(1, 1 / steps, steps)
    sigmas = [*(3 * grid / (1 + 2 * grid)).tolist(), 0.0]
    x = torch.randn(1, 16, 64, 64, device=device)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for i in range(steps):
        t, t_next = sigmas[i], sigmas[i + 1]
        timestep = torch.full((2,), 1000 * t, device=device)
        v = policy(hidden_states=torch.cat([x, x]).to(dtype), timestep=timestep, encoder_hidden_states=context, pooled_projections=pooled, return_dict=False)[0].float()
        u, c = v.chunk(2)
        v = u + GUIDANCE * (c - u)
        dt = t_next - t
        if k == 1 or i + 1 == steps:
            x = x + dt * v
            continue
        std = NOISE * math.sqrt(t / (1 - (sigmas[1] if t == 1 else t)))
        mean = x * (1 + std**2 / (2 * t) * dt) + v * (1 + std**2 * (1 - t) / (2 * t)) * dt
        candidates = mean[:, None] + std * math.sqrt(-dt) * torch.randn(1, k, *x.shape[1:], device=device)
        rows = candidates.flatten(0, 1)
        scores = reward(rows.to(dtype), torch.full((k,), 1000 * t_next, device=device), of_candidates, of_candidates_pooled)
        x = rows.index_select(0, scores.float().argmax(0, keepdim=True))
    torch.cuda.synchronize()
    return time.perf_counter() - started


of_one = None
for k in (1, 2, 4, 6):
    picture(k, 2)
    seconds = picture(k, a.steps)
    of_one = of_one or seconds
    print(json.dumps({"stage": "torch", "compiled": a.compile, "k": k, "steps": a.steps, "seconds": seconds, "over_k1": seconds / of_one, "ms_a_step": 1000 * seconds / a.steps}), flush=True)
print(json.dumps({"stage": "torch", "peak_gib": torch.cuda.max_memory_allocated() / 2**30}))
