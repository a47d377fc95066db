# Writes the checkpoints beside it, with a safetensors twin for what can be read. Made with PyTorch 2.13.0:
#   pip install torch==2.13.0 numpy safetensors && python3 make.py
import io
import os
import pickle
import struct
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
torch.manual_seed(7)


def twin(name, tensors):
    plain = {k: t.detach().clone().contiguous() for k, t in tensors.items()}
    save_file(plain, HERE / f'{name}.safetensors')


def numbers(*shape):
    return torch.randn(*shape)


# Dtypes, views, shared storages, parameters.
base = numbers(40)
shared = torch.arange(12, dtype=torch.int64)
tensors = {
    'f32': numbers(3, 5),
    'f64': numbers(2, 2).double(),
    'f16': numbers(3).half(),
    'bf16': numbers(5).bfloat16(),
    'i64': torch.tensor([-(2**40), 3]),
    'i32': torch.tensor([[1, -2]], dtype=torch.int32),
    'i16': torch.tensor([300, -1], dtype=torch.int16),
    'i8': torch.tensor([-128, 127], dtype=torch.int8),
    'u8': torch.tensor([0, 255], dtype=torch.uint8),
    'bool': torch.tensor([True, False, True]),
    'scalar': torch.tensor(2.5),
    'empty': torch.zeros(0, 4),
    'special': torch.tensor([float('nan'), float('inf'), -float('inf'), -0.0, 1e-45]),
    'offset': base[7:19],
    'transposed': base[:20].view(4, 5).t(),
    'steps': base.view(5, 8)[::2, 1:7:3],
    'permuted': base[:24].view(2, 3, 4).permute(2, 0, 1),
    'inner': base[:24].view(2, 3, 4)[:, 1:],
    'half_steps': numbers(6, 4).half().t()[1:],
    'whole': shared,
    'tail': shared[8:],
    'repeated': base[:3].expand(4, 3),
    'parameter': torch.nn.Parameter(numbers(2, 3)),
    'bf16.parameter': torch.nn.Parameter(numbers(2).bfloat16(), requires_grad=False),
    'ünï': numbers(1),
}
twin('tensors', tensors)
for protocol in (2, 3, 4, 5):
    torch.save(tensors, HERE / f'zip_protocol{protocol}.pt', pickle_protocol=protocol)
for protocol in (2, 4):
    torch.save(
        OrderedDict(tensors),
        HERE / f'stream_protocol{protocol}.pt',
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=False,
    )
torch.serialization.set_crc32_options(False)
torch.save(tensors, HERE / 'zip_without_checksums.pt')
torch.serialization.set_crc32_options(True)

# Dtypes without a storage class of their own.
bytes_of_no_type = {
    'fp8': numbers(6).to(torch.float8_e4m3fn),
    'fp8_view': numbers(4, 3).to(torch.float8_e5m2).t(),
    'complex': torch.complex(numbers(2), numbers(2)),
    'u16': torch.tensor([1, 65535], dtype=torch.uint16),
}
torch.save(bytes_of_no_type, HERE / 'untyped.pt')
twin('untyped', {k: t for k, t in bytes_of_no_type.items() if k.startswith('fp8')})

# What trainers write: a state dict of a module (with the attribute _metadata) and much else.
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(2):
    optimizer.zero_grad()
    model(numbers(5, 3)).square().mean().backward()
    optimizer.step()
checkpoint = {
    'epoch': 3,
    'name': 'a model',
    'loss': 0.25,
    'best': None,
    'done': False,
    'big': 2**70,
    'negative': -5,
    'blob': b'\x00\x01',
    'history': [0.5, [1, (2, 3, 4, 5)], {}],
    'tags': {'a', 'b'},
    'shape': torch.Size([1, 2]),
    'device': torch.device('cpu'),
    'dtype': torch.float16,
    'counter': Counter('aab'),
    'sets': defaultdict(dict, {'x': {'y': 1}}),
    'rng': torch.get_rng_state()[:8],
    'state_dict': model.state_dict(),
    'optimizer': optimizer.state_dict(),
}
checkpoint['itself'] = checkpoint
twin('trained', checkpoint['state_dict'])
torch.save(checkpoint, HERE / 'trained_zip.pt')
torch.save(checkpoint, HERE / 'trained_stream.pt', _use_new_zipfile_serialization=False)

# What PyTorch before 0.4 wrote under Python 2: texts of one byte a letter, an OrderedDict of a list of pairs, Parameters
# with the state of a Variable, storages that are parts of others.


def text(s):
    return b'U' + struct.pack('B', len(s)) + s.encode()


def integer(i):
    return b'J' + struct.pack('<i', i)


def name(module, attribute):
    return f'c{module}\n{attribute}\n'.encode()


def old_storage(kind, key, count, part):
    view = b'N' if part is None else b'(' + text(part[0]) + integer(part[1]) + integer(part[2]) + b't'
    return b'(' + text('storage') + name('torch', kind) + text(key) + text('cpu') + integer(count) + view + b'tQ'


def old_tensor(storage, offset, shape, strides):
    sides = [b'(' + b''.join(integer(i) for i in s) + b't' for s in (shape, strides)]
    return name('torch._utils', '_rebuild_tensor') + b'(' + storage + integer(offset) + sides[0] + sides[1] + b'tR'


def old_parameter(tensor):
    return name('torch.nn.parameter', 'Parameter') + tensor + b'\x85R(\x88\x89' + name('collections', 'OrderedDict') + b']\x85Rtb'


values = numbers(10)
longs = torch.arange(4)
members = {
    'features.0.weight': old_parameter(old_tensor(old_storage('FloatStorage', '1234', 10, None), 2, (2, 3), (3, 1))),
    'features.0.bias': old_parameter(old_tensor(old_storage('FloatStorage', '1234', 10, ('99', 4, 5)), 1, (2,), (2,))),
    'steps': old_tensor(old_storage('LongStorage', '77', 4, None), 0, (4,), (1,)),
}
program = name('collections', 'OrderedDict') + b']('
for key, tensor in members.items():
    program += b'](' + text(key) + tensor + b'e'
program = b'\x80\x02' + program + b'e\x85R.'
with open(HERE / 'old_stream.pth', 'wb') as f:
    for head in (0x1950A86A20F9469CFC6C, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2}}):
        pickle.dump(head, f, protocol=2)
    f.write(program)
    pickle.dump(['1234', '77'], f, protocol=2)
    for t in (values, longs):
        f.write(struct.pack('<q', t.numel()) + t.numpy().tobytes())
old = {'features.0.weight': values[2:8].view(2, 3), 'features.0.bias': values[5:9:2], 'steps': longs}
twin('old', old)

# Refused: each would run code in Python.
mps = types.ModuleType('mps')
exec('import torch\nclass CLIPModel(torch.nn.Module):\n  def __init__(s):\n    super().__init__(); s.a = torch.nn.Linear(1, 1)', mps.__dict__)
mps.CLIPModel.__module__ = 'mps'
sys.modules['mps'] = mps


class System:
    def __reduce__(self):
        return os.system, ('echo a checkpoint ran a command',)


torch.save(mps.CLIPModel(), HERE / 'refused_module_zip.pth')
torch.save(mps.CLIPModel(), HERE / 'refused_module_stream.pth', pickle_protocol=4, _use_new_zipfile_serialization=False)
torch.save({'a': numbers(1), 'b': System()}, HERE / 'refused_system.pt')
torch.save({'a': numpy.ones(2)}, HERE / 'refused_numpy.pt')
torch.save({'a': torch._neg_view(numbers(2))}, HERE / 'refused_negated.pt')
torch.save({'a': torch.eye(2).to_sparse()}, HERE / 'refused_sparse.pt')
torch.jit.script(torch.nn.Linear(1, 1)).save(str(HERE / 'refused_script.pt'))
with open(HERE / 'refused_plain_pickle.pkl', 'wb') as f:
    pickle.dump({'a': numbers(1)}, f, protocol=4)
