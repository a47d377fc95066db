"""What step-wise sampling gains from a reward that orders the base's own pictures as a CLIP does: at each step K candidates
branch by the SDE step, the reward is the CLIP's cosine of caption and decoded estimate of x_0 (one conditional pass of the
policy from each candidate), the best goes on. Beside it plain sampling from the same noise; both are judged by another CLIP.

    python test/bench/python/clip_guided.py --model models/tiny --clip runs/clip-styles/model --judge models/judge \\
                                            --prompts data/emoji/prompts/train.txt --n 96 --k 6
"""
import argparse
import math

p = argparse.ArgumentParser()
for name in ("model", "clip", "judge", "prompts"):
    p.add_argument("--" + name, required=True)
for name, value in (("n", 96), ("k", 6), ("steps", 28), ("seed", 0), ("threads", 1)):
    p.add_argument("--" + name, type=int, default=value)
p.add_argument("--guidance", type=float, default=3.0)
p.add_argument("--noise-level", type=float, default=0.7)
p.add_argument("--until", type=float, default=1.0, help="share of the steps in which candidates branch, from the first on")
a = p.parse_args()

import torch
from diffusers import StableDiffusion3Pipeline
from transformers import CLIPModel, CLIPTokenizer

torch.set_num_threads(a.threads)
torch.set_grad_enabled(False)
captions = [line for line in open(a.prompts, encoding="utf-8").read().splitlines() if line][: a.n]
pipe = StableDiffusion3Pipeline.from_pretrained(a.model, text_encoder_3=None, tokenizer_3=None, torch_dtype=torch.float32)
pipe.scheduler.set_timesteps(a.steps)
sigmas = pipe.scheduler.sigmas.tolist()
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


class Clip:
    def __init__(self, folder):
        self.model = CLIPModel.from_pretrained(folder).float().eval()
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        length = self.model.config.text_config.max_position_embeddings
        ids = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        self.text = unit(self.model.text_projection(self.model.text_model(input_ids=ids).pooler_output))

    def cosine(self, pictures, rows):
        """pictures (B, 3, H, W) in [0, 1]; rows: each one's caption."""
        seen = self.model.vision_model(pixel_values=(pictures - MEAN) / DEVIATION).pooler_output
        return (unit(self.model.visual_projection(seen)) * self.text[rows]).sum(1)


def decode(latents):
    """As 8-bit pictures have it."""
    config = pipe.vae.config
    pictures = pipe.vae.decode(latents / config.scaling_factor + config.shift_factor).sample
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 255


def velocity(x, t, context, pooled):
    timestep = torch.full((len(x),), 1000 * t)
    return pipe.transformer(x, encoder_hidden_states=context, pooled_projections=pooled, timestep=timestep, return_dict=False)[0]


def sample(k, rows, clip):
    prompts = [captions[i] for i in rows]
    context, negative, pooled, negative_pooled = pipe.encode_prompt(prompts, prompts, prompts, max_sequence_length=0)
    x = torch.stack([torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(a.seed * 10**6 + i)) for i in rows])
    noise = torch.Generator().manual_seed(a.seed * 10**6 + rows[0])
    for i, (t, t_next) in enumerate(zip(sigmas, sigmas[1:])):
        unconditional = velocity(x, t, negative, negative_pooled)
        v = unconditional + a.guidance * (velocity(x, t, context, pooled) - unconditional)
        dt = t_next - t
        if k == 1 or i + 1 == a.steps or i >= a.until * a.steps:
            x = x + dt * v
            continue
        std = a.noise_level * math.sqrt(t / (1 - (sigmas[1] if t == 1 else t)))
        mean = x * (1 + std**2 / (2 * t) * dt) + v * (1 + std**2 * (1 - t) / (2 * t)) * dt
        candidates = mean[:, None] + std * math.sqrt(-dt) * torch.randn(len(x), k, *x.shape[1:], generator=noise)
        each = candidates.flatten(0, 1)
        clean = each - t_next * velocity(each, t_next, context.repeat_interleave(k, 0), pooled.repeat_interleave(k, 0))
        reward = clip.cosine(decode(clean), torch.tensor(rows).repeat_interleave(k)).view(len(x), k)
        x = candidates[torch.arange(len(x)), reward.argmax(1)]
    return decode(x)


def all_pictures(k, clip):
    chunks = [list(range(begin, min(begin + 32, len(captions)))) for begin in range(0, len(captions), 32)]
    return torch.cat([sample(k, rows, clip) for rows in chunks])


def told(values):
    return f"{values.mean():+.4f} ± {1.96 * values.std() / math.sqrt(len(values)):.4f}"


clip, judge = Clip(a.clip), Clip(a.judge)
plain, chosen = all_pictures(1, clip), all_pictures(a.k, clip)
every = torch.arange(len(captions))
print(f"{len(captions)} captions, K = {a.k}, noise level {a.noise_level}, branching in the first {a.until:.0%} of {a.steps} steps")
for name, by in (("judge", judge), ("the CLIP that chose", clip)):
    before = by.cosine(plain, every)
    print(f"{name}: K = 1 {told(before)}; K = {a.k} minus K = 1 {told(by.cosine(chosen, every) - before)}")
