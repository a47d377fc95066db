"""The Python side of `npm run bench -- pretrain` and `-- train`: the same training step as one writes it with diffusers, transformers
and torch.optim. argv[1] is the workload of test/bench/training_steps.ts, whose protocol this process speaks too."""
import copy
import json
import sys
import time

import torch
import torch.nn.functional as F

work = json.loads(sys.argv[1])
s = work["settings"]
torch.set_num_threads(work["threads"])
torch.manual_seed(s["seed"])
config = json.load(open(work["config"]))
batch, edge, tokens, vocabulary = s["batch"], s["size"], work["tokens"], work["vocabulary"]
pixels = torch.randint(0, 256, (batch, edge, edge, 3), dtype=torch.uint8)
ids = torch.randint(0, vocabulary - 2, (batch, max(1, tokens)))
ids[:, -1] = vocabulary - 1


def vae():
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_config(config).to(memory_format=torch.channels_last)

    def edges(d):
        return (d[:, :, 1:] - d[:, :, :-1]).abs().mean() + (d[..., 1:] - d[..., :-1]).abs().mean()

    def loss():
        x = pixels.permute(0, 3, 1, 2).float() / 255 * 2 - 1
        p = model.encode(x).latent_dist
        mean, logvar = p.mean.float(), p.logvar.float()
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        y = model.decode(z.contiguous(memory_format=torch.channels_last)).sample.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return s["l1"] * F.l1_loss(y, x) + s["l2"] * F.mse_loss(y, x) + s["edges"] * edges(y - x) + s["kl"] * kl

    return model, loss


def clip():
    from transformers import CLIPConfig, CLIPModel

    model = CLIPModel(CLIPConfig(**config))
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)

    def loss():
        x = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        return model(input_ids=ids, pixel_values=x, return_loss=True).loss

    return model, loss


def flow():
    from diffusers import SD3Transformer2DModel

    model = SD3Transformer2DModel.from_config(config)
    if s["gradient_checkpointing"]:
        model.enable_gradient_checkpointing()
    side = config["sample_size"]
    latents = torch.randn(2, batch, config["in_channels"], side, side)  # mean and deviation
    prompts = torch.randn(batch, tokens + s["t5_length"], config["joint_attention_dim"])
    pooled = torch.randn(batch, config["pooled_projection_dim"])

    def loss():
        x = latents[0] + latents[1] * torch.randn_like(latents[1])
        sigma = torch.sigmoid(s["logit_mean"] + s["logit_deviation"] * torch.randn(batch))
        noise = torch.randn_like(x)
        rows = torch.where(torch.rand(batch) < s["prompt_dropout"], 0, torch.arange(batch))
        at = sigma.view(-1, 1, 1, 1)
        v = model(hidden_states=(1 - at) * x + at * noise, timestep=sigma * 1000,
                  encoder_hidden_states=prompts[rows], pooled_projections=pooled[rows], return_dict=False)[0]
        return F.mse_loss(v.float(), noise - x)

    return model, loss


def reward():
    from diffusers import AutoencoderKL, SD3Transformer2DModel
    from torch import nn

    class Reward(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = SD3Transformer2DModel.from_config(config)
            self.transformer.transformer_blocks = self.transformer.transformer_blocks[: work["keepLayers"]]
            if s["gradient_checkpointing"]:
                self.transformer.enable_gradient_checkpointing()
            widths = [config["out_channels"], s["head_channels"], 2 * s["head_channels"], 2 * s["head_channels"]]
            self.down = nn.Sequential(*(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(s["head_groups"], b, eps=1e-5), nn.ReLU())
                for a, b in zip(widths, widths[1:])))
            self.mlp = nn.Sequential(nn.Linear(widths[-1], s["head_hidden"]), nn.ReLU(),
                                     nn.Dropout(s["head_dropout"]), nn.Linear(s["head_hidden"], 1))

        def forward(self, x, timestep, prompts, pooled):
            features = self.transformer(hidden_states=x, timestep=timestep, encoder_hidden_states=prompts,
                                        pooled_projections=pooled, return_dict=False)[0]
            return self.mlp(self.down(features).mean((2, 3)))[:, 0].float()

    model = Reward()
    files = work["source"]
    encoder = AutoencoderKL.from_config(json.load(open(files["vae"]["config"]))).requires_grad_(False)
    pictures = torch.randint(0, 256, (2 * batch, edge, edge, 3), dtype=torch.uint8)
    shift = json.load(open(files["schedulerConfig"]))["shift"] if s["shifted"] else 1.0
    level = torch.arange(1000, 0, -1) / 1000
    table = shift * level / (1 + (shift - 1) * level)

    def encode():
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            p = encoder.encode(pictures.permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist
            return p.mean, p.std

    cached = encode()
    prompts = torch.randn(batch, tokens + s["t5_length"], config["joint_attention_dim"])
    pooled = torch.randn(batch, config["pooled_projection_dim"])

    def loss():
        mean, std = encode() if s["latents"] == "on_the_fly" else cached
        x = mean + std * torch.randn_like(mean)
        u = torch.rand(batch)
        if s["timestep_sampling"] == "logit_normal":
            u = torch.sigmoid(s["logit_mean"] + s["logit_deviation"] * torch.randn(batch))
        sigma = table[(u * 1000).long()].repeat(2)
        at = sigma.view(-1, 1, 1, 1)
        scores = model((1 - at) * x + at * torch.randn_like(x), sigma * 1000, prompts.repeat(2, 1, 1),
                       pooled.repeat(2, 1))
        return -F.logsigmoid(scores[:batch] - scores[batch:]).mean()

    return model, loss


model, loss = {"vae": vae, "clip": clip, "flow": flow, "reward": reward}[work["part"]]()
model.train()
parameters = list(model.parameters())
optimizer = torch.optim.AdamW(parameters, lr=s["learning_rate"], betas=(s["beta1"], s["beta2"]), eps=s["eps"],
                              weight_decay=s["weight_decay"], fused=True)
averages = [copy.deepcopy(p.detach()) for p in parameters] if s["ema_decay"] else []


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=s["dtype"] == "bf16"):
        value = loss()
    value.backward()
    torch.nn.utils.clip_grad_norm_(parameters, s["max_gradient_norm"])
    optimizer.step()
    if averages:
        torch._foreach_lerp_(averages, [p.detach() for p in parameters], 1 - s["ema_decay"])
    return value.item()


print("ready", flush=True)
for line in sys.stdin:
    wall, cpu = [], []
    for _ in range(int(line)):
        started, used = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)
