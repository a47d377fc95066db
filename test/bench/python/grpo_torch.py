"""The Python side of `npm run bench -- grpo`: Flow-GRPO and Step-GRPO as one writes them with diffusers and peft, after
flow_grpo's train_sd3.py. argv[1] is the workload of test/bench/grpo_iterations.ts, whose protocol this process speaks too."""
import json
import math
import sys
import time

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig, get_peft_model
from reward_model import Reward
from safetensors.torch import load_file

work = json.loads(sys.argv[1])
k, batch, steps = work["k"], work["batch"], work["steps"]
torch.set_num_threads(work["threads"])
torch.manual_seed(work["seed"])
pipe = StableDiffusion3Pipeline.from_pretrained(work["model"], torch_dtype=torch.float32, text_encoder_3=None, tokenizer_3=None, local_files_only=True)
pipe.transformer.requires_grad_(False)
reward = Reward(work["reward"]).eval().requires_grad_(False)
lora = LoraConfig(r=work["lora"]["rank"], lora_alpha=work["lora"]["alpha"], init_lora_weights="gaussian", target_modules=work["lora"]["targets"])
policy = get_peft_model(pipe.transformer, lora)
adapter = {name: p for name, p in policy.named_parameters() if p.requires_grad}
parameters = list(adapter.values())
o = work["optimizer"]
optimizer = torch.optim.AdamW(parameters, lr=work["learningRate"], betas=(o["beta1"], o["beta2"]), eps=o["eps"],
                              weight_decay=o["weightDecay"], fused=True)
averages = [p.detach().clone() for p in parameters]
pipe.scheduler.set_timesteps(steps)
sigmas = pipe.scheduler.sigmas.tolist()
shape = (policy.config.in_channels, policy.config.sample_size, policy.config.sample_size)
trained = range(steps - 1)
prompt_of = [i // work["each"] for i in range(len(work["captions"]) * work["each"])]
updates = 0


class Torch:
    """Random numbers as they come."""

    latents = staticmethod(lambda samples: torch.randn(len(samples), *shape))
    branch = staticmethod(lambda samples, step: torch.randn(len(samples), k, *shape))
    choose = staticmethod(lambda samples, step: torch.randint(k, (len(samples),)))


class Philox:
    """drm's own (csrc/random/philox.h), so that both sides can be compared."""

    @staticmethod
    def words(purpose, step, samples, candidates, blocks):
        grid = np.meshgrid(samples, candidates, np.arange(blocks), indexing="ij")
        sample, candidate, index = (a.astype(np.uint64) for a in grid)
        low = np.uint64(0xFFFFFFFF)
        c = [index, sample, np.full_like(sample, step), np.uint64(purpose << 24) | candidate]
        key = [work["seed"] & 0xFFFFFFFF, work["seed"] >> 32]
        for _ in range(10):
            p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
            c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(key[0]), p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(key[1]), p0 & low]
            key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
        return [((w >> np.uint64(8)).astype(np.float64) + 0.5) / 2**24 for w in c]

    @staticmethod
    def normal(purpose, step, samples, candidates):
        u = Philox.words(purpose, step, samples, candidates, math.prod(shape) // 4)
        pairs = [np.sqrt(-2 * np.log(a)) * f(2 * np.pi * b) for a, b in (u[:2], u[2:]) for f in (np.cos, np.sin)]
        return torch.from_numpy(np.stack(pairs, -1)).float().view(len(samples), len(candidates), *shape)

    latents = staticmethod(lambda samples: Philox.normal(11, 0, samples, [0])[:, 0])
    branch = staticmethod(lambda samples, step: Philox.normal(5, step, samples, range(k)))
    choose = staticmethod(lambda samples, step: torch.from_numpy(Philox.words(6, step, samples, [0], 1)[0].reshape(-1) * k).long())


class Clock:
    def __init__(self):
        self.wall = self.cpu = 0.0

    def __enter__(self):
        self.started = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self.started[0]
        self.cpu += time.process_time() - self.started[1]


def guided(x, t, text):
    both, both_pooled = text
    v = policy(hidden_states=torch.cat([x, x]), timestep=torch.full((2 * len(x),), 1000 * t), encoder_hidden_states=both,
               pooled_projections=both_pooled, return_dict=False)[0]
    u, c = v.chunk(2)
    return u + work["guidance"] * (c - u)


def sde(x, v, i):
    """Mean, deviation without and with the root of the step."""
    t, dt = sigmas[i], sigmas[i + 1] - sigmas[i]
    std = work["noiseLevel"] * math.sqrt(t / (1 - (sigmas[1] if t == 1 else t)))
    return x * (1 + std**2 / (2 * t) * dt) + v * (1 + std**2 * (1 - t) / (2 * t)) * dt, std, std * math.sqrt(-dt)


def log_prob(candidates, mean, deviation):
    d = (candidates - mean[:, None]) / deviation
    return (-0.5 * d**2 - math.log(deviation) - 0.5 * math.log(2 * math.pi)).mean((2, 3, 4))


@torch.no_grad()
def collect(rows, samples, noise, times):
    """One network call's trajectories: what each trained step needs, and the rewards (steps or 1, rows, k or 1)."""
    with times["rollout"]:
        first, last = prompt_of[rows[0]], prompt_of[rows[-1]]
        prompts, of = work["captions"][first : last + 1], torch.tensor([prompt_of[r] - first for r in rows])
        c, n, pc, pn = (e[of] for e in pipe.encode_prompt(prompts, prompts, prompts, max_sequence_length=1))
        c, n = c[:, :-1], n[:, :-1]  # the model has no T5 and was trained without its zeros
        text = torch.cat([n, c]), torch.cat([pn, pc])
        x = noise.latents(samples)
    kept, rewards = [], []

    def score(latents, each, t):
        with times["reward"]:
            return reward(latents, torch.full((len(latents),), 1000 * t), c.repeat_interleave(each, 0), pc.repeat_interleave(each, 0))

    for i in range(steps):
        with times["rollout"]:
            v = guided(x, sigmas[i], text)
            if i not in trained:
                x = x + (sigmas[i + 1] - sigmas[i]) * v
                continue
            mean, std, deviation = sde(x, v, i)
            candidates = mean[:, None] + deviation * noise.branch(samples, i)
            kept.append({"x": x, "candidates": candidates, "log_prob": log_prob(candidates, mean, deviation), "text": text})
        if k > 1:
            rewards.append(score(candidates.flatten(0, 1), k, sigmas[i + 1]).view(len(rows), k))
        with times["rollout"]:
            x = candidates[torch.arange(len(rows)), noise.choose(samples, i) if k > 1 else 0]
    if k == 1:
        rewards.append(score(x, 1, 0)[:, None])
    return kept, torch.stack(rewards)


def loss_of(s, i, advantages):
    mean, std, deviation = sde(s["x"], v := guided(s["x"], sigmas[i], s["text"]), i)
    ratio = torch.exp(log_prob(s["candidates"], mean, deviation) - s["log_prob"])
    a = advantages.clamp(-work["advantageClip"], work["advantageClip"])
    loss = torch.maximum(-a * ratio, -a * ratio.clamp(1 - work["clipRange"], 1 + work["clipRange"])).mean()
    if work["klBeta"] == 0:
        return loss, 0.0
    with torch.no_grad(), policy.disable_adapter():
        reference = sde(s["x"], guided(s["x"], sigmas[i], s["text"]), i)[0]
    kl = ((mean - reference) ** 2).mean() / (2 * std**2)
    return loss + work["klBeta"] * kl, kl.item()


def iterate(iteration, noise):
    global updates
    n, per_update = len(prompt_of), len(prompt_of) // work["updates"]
    times = {"rollout": Clock(), "reward": Clock(), "update": Clock()}
    calls = [range(at, at + batch) for at in range(0, n, batch)]
    collected = [collect(rows, [iteration * n + r for r in rows], noise, times) for rows in calls]
    scores = torch.cat([r for _, r in collected], 1)  # (steps or 1, n, k or 1)
    groups = scores if k > 1 else scores.view(-1, work["each"])
    advantages = ((groups - groups.mean(-1, keepdim=True)) / (groups.std(-1, keepdim=True, unbiased=False) + 1e-4)).view_as(scores)
    told = []
    with times["update"]:
        for update in range(work["updates"]):
            mine = [at for at, rows in enumerate(calls) if rows[0] // per_update == update]
            passes = [(at, i) for at in mine for i in trained]
            optimizer.zero_grad(set_to_none=True)
            total = divergence = 0.0
            for at, i in passes:
                rows = slice(calls[at][0], calls[at][-1] + 1)
                loss, kl = loss_of(collected[at][0][i], i, advantages[i if k > 1 else 0, rows])
                (loss / len(passes)).backward()
                total += loss.item() / len(passes)
                divergence += kl / len(passes)
            norm = torch.nn.utils.clip_grad_norm_(parameters, work["optimizer"]["maxGradientNorm"])
            optimizer.step()
            updates += 1
            if updates % work["optimizer"]["emaEvery"] == 0:
                torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - work["optimizer"]["emaDecay"])
            told.append({"loss": total, "kl": divergence, "gradient": norm.item()})
    return times, scores.flatten().tolist(), told


print("ready", flush=True)
iteration = 0
for line in sys.stdin:
    if line.strip() == "check":
        given = load_file(work["adapter"])
        with torch.no_grad():
            for name, p in adapter.items():
                p.copy_(given["parameter." + name.removeprefix("base_model.model.").replace(".default", "")])
    answer = []
    for _ in range(2 if line.strip() == "check" else int(line)):
        times, scores, told = iterate(iteration, Philox if line.strip() == "check" else Torch)
        iteration += 1
        seconds = {name: clock.wall for name, clock in times.items()}
        cpu = {"sampling_cpu": times["rollout"].cpu + times["reward"].cpu, "update_cpu": times["update"].cpu}
        answer.append({"scores": scores, "updates": told} if line.strip() == "check" else {**seconds, **cpu})
    print(json.dumps(answer), flush=True)
