"""The Python side of `npm run bench -- score`: the same scorers as one writes them with transformers, images prepared with
Pillow. argv[1] is the workload of test/bench/score_images.ts, whose protocol this process speaks too."""
import json
import math
import resource
import sys
import time

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

work = json.loads(sys.argv[1])
torch.set_num_threads(work["threads"])
torch.set_grad_enabled(False)
config = json.load(open(work["config"]))
dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[work["dtype"]]
MEAN, STD = np.array((0.48145466, 0.4578275, 0.40821073)), np.array((0.26862954, 0.26130258, 0.27577711))


def picture(n):
    i = np.arange(work["side"] ** 2 * 3, dtype=np.uint64)
    noise = ((i * 2654435761 + n * 40503) & 0xFFFFFFFF) >> 24
    return Image.fromarray(noise.astype(np.uint8).reshape(work["side"], work["side"], 3))


def normalised(image):
    x = (np.asarray(image).astype(np.float32) / 255 - MEAN.astype(np.float32)) / STD.astype(np.float32)
    return torch.from_numpy(x).permute(2, 0, 1)


def squares(images, size):
    """Images that are square: nothing is cropped."""
    return torch.stack([normalised(image.resize((size, size), Image.BICUBIC)) for image in images]).to(dtype)


def fill(model, rename):
    """Weights into a model by our names of its own, or None for what it does without, tensor by tensor."""
    own = model.state_dict()
    with safe_open(work["weights"], "pt") as file:
        for key in file.keys():
            name = rename(key)
            if name is None:
                continue
            own.pop(name).copy_(file.get_tensor(key).reshape(model.state_dict()[name].shape))
    left = [name for name in own if "inv_freq" not in name and "position_ids" not in name]
    if left:
        raise SystemExit(f"{work['weights']}: expected weights for {left[:8]}")
    return model.to(dtype).eval()


def chain(sizes, prefix):
    """Affine layers with the numbers that they have among dropouts."""
    layers = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])))
    with safe_open(work["weights"], "pt") as file:
        for layer, number in zip(layers, prefix[1]):
            layer.weight.copy_(file.get_tensor(f"{prefix[0]}{number}.weight"))
            layer.bias.copy_(file.get_tensor(f"{prefix[0]}{number}.bias"))
    return layers.float().eval()


def clip():
    from transformers import CLIPConfig, CLIPModel

    with torch.device("cpu"):
        model = fill(CLIPModel(CLIPConfig(**config)), lambda key: key)
    ids = torch.tensor(work["prompts"])
    size = config["vision_config"]["image_size"]

    def score(images):
        seen = model.visual_projection(model.vision_model(pixel_values=squares(images, size)).pooler_output).float()
        said = model.text_projection(model.text_model(input_ids=ids).pooler_output).float()
        return (seen / seen.norm(dim=-1, keepdim=True) * said / said.norm(dim=-1, keepdim=True)).sum(1)

    return score


def imagereward():
    from transformers import BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    of_vision, of_text = "blip.visual_encoder.", "blip.text_encoder."
    parts = {"cls_token": "embeddings.class_embedding", "pos_embed": "embeddings.position_embedding"}
    layer = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attn.qkv": "self_attn.qkv",
             "attn.proj": "self_attn.projection", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}

    def vision_name(key):
        if not key.startswith(of_vision):
            return None
        key = key[len(of_vision):]
        if key in parts:
            return parts[key]
        stem, last = key.rsplit(".", 1)
        if stem.startswith("blocks."):
            _, number, rest = stem.split(".", 2)
            return f"encoder.layers.{number}.{layer[rest]}.{last}"
        return {"patch_embed.proj": "embeddings.patch_embedding", "norm": "post_layernorm"}[stem] + "." + last

    vision = fill(BlipVisionModel(BlipVisionConfig(**config["vision_config"])), vision_name)
    text = fill(BlipTextModel(BlipTextConfig(**config["text_config"], is_decoder=True), add_pooling_layer=False),
                lambda key: key[len(of_text):] if key.startswith(of_text) and "position_ids" not in key else None)
    head_config = config["head_config"]
    sizes = [config["text_config"]["hidden_size"], *head_config["hidden_sizes"], 1]
    head = chain(sizes, ("mlp.layers.", (0, 2, 4, 6, 7)))
    ids = torch.tensor(work["prompts"])
    size = config["vision_config"]["image_size"]

    def score(images):
        seen = vision(pixel_values=squares(images, size)).last_hidden_state
        read = text(input_ids=ids, attention_mask=(ids != 0).long(), encoder_hidden_states=seen,
                    encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long), is_decoder=False)
        raw = head(read.last_hidden_state[:, 0].float())[:, 0]
        return (raw - head_config["mean"]) / head_config["std"]

    return score


def hpsv3():
    from transformers import Qwen2VLConfig, Qwen2VLModel

    vision = config["vision_config"]
    fields = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
              "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps")
    angles = config["hidden_size"] // config["num_attention_heads"] // 2
    sections = [angles - 2 * (angles * 3 // 8), angles * 3 // 8, angles * 3 // 8]  # all read the same positions
    rope = {"rope_type": "default", "rope_theta": config["rope_theta"], "mrope_section": sections}
    model = Qwen2VLModel(Qwen2VLConfig(text_config={**{key: config[key] for key in fields}, "rope_parameters": rope,
                                                    "use_cache": False, "pad_token_id": 0},
                                       vision_config=vision, image_token_id=config["image_token_id"]))

    def name(key):
        if key.startswith("visual."):
            return key
        return "language_model." + key[len("model."):] if key.startswith("model.") else None

    fill(model, name)
    head = chain([config["hidden_size"], *config["reward_head_sizes"], 2], ("rm_head.", (0, 3, 5)))
    patch, merge = vision["patch_size"], vision["spatial_merge_size"]
    factor, budget = patch * merge, 200704

    def resized(image):
        h, w = image.height, image.width
        height, width = max(factor, round(h / factor) * factor), max(factor, round(w / factor) * factor)
        if height * width > budget:
            beta = math.sqrt(h * w / budget)
            height, width = math.floor(h / beta / factor) * factor, math.floor(w / beta / factor) * factor
        elif height * width < budget:
            beta = math.sqrt(budget / (h * w))
            height, width = math.ceil(h * beta / factor) * factor, math.ceil(w * beta / factor) * factor
        return image.resize((width, height), Image.BICUBIC)

    def patches(image):
        """Rows of [3][2][14][14], by blocks of 2 x 2 patches; the grid of patches."""
        x = normalised(resized(image))
        h, w = x.shape[1] // patch, x.shape[2] // patch
        x = x.reshape(3, h // merge, merge, patch, w // merge, merge, patch).permute(1, 4, 2, 5, 0, 3, 6)
        return x.unsqueeze(5).expand(-1, -1, -1, -1, -1, 2, -1, -1).reshape(h * w, -1), (1, h, w)

    def one(image, ids):
        pixels, grid = patches(image)
        seen = model.visual(pixels.to(dtype), grid_thw=torch.tensor([grid]))
        seen = getattr(seen, "pooler_output", seen)
        at = ids.index(config["image_token_id"])
        table = model.language_model.embed_tokens
        embeds = torch.cat([table(torch.tensor(ids[:at])), seen, table(torch.tensor(ids[at + 1:]))])[None]
        positions = torch.arange(embeds.shape[1]).view(1, 1, -1).expand(3, 1, -1)
        hidden = model.language_model(inputs_embeds=embeds, position_ids=positions).last_hidden_state[0, -1].float()
        return head[2](torch.relu(head[1](torch.relu(head[0](hidden)))))[0]

    return lambda images: torch.stack([one(image, ids) for image, ids in zip(images, work["prompts"])])


score = {"clip": clip, "imagereward": imagereward, "hpsv3": hpsv3}[work["kind"]]()
pictures = [picture(n) for n in range(work["images"])]
print("ready", flush=True)
for _ in sys.stdin:
    started, used = time.perf_counter(), time.process_time()
    scores = score(pictures).tolist()
    print(json.dumps({"wall": time.perf_counter() - started, "cpu": time.process_time() - used, "scores": scores,
                      "peakMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
