"""The part of PyTorch that saves tensors and networks: `save` writes what torch.save writes.

PyTorch is large, so the tests use this module instead. `make test-torch` runs them with PyTorch.
Class names, modules and the order of arguments are those of PyTorch's pickles.
"""
import collections
import io
import pickle
import sys
import types
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def module_of(name):
    """A module that pickle can import."""
    if name not in sys.modules:
        sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]


def named(module, name=None):
    """Registers a class or a function under its name in PyTorch."""
    def place(thing):
        thing.__module__, thing.__qualname__ = module, name or thing.__name__
        setattr(module_of(module), thing.__qualname__, thing)
        return thing
    return place


@named("torch._utils", "_rebuild_tensor_v2")
def rebuild_tensor(storage, offset, size, stride, requires_grad, hooks):
    raise NotImplementedError


@named("torch._utils", "_rebuild_parameter")
def rebuild_parameter(data, requires_grad, hooks):
    raise NotImplementedError


class_of = {kind: named("torch")(type(kind, (), {})) for kind in STORAGES.values()}


class Storage:
    def __init__(self, numbers):
        self.numbers = numbers


class Tensor:
    """A view of a storage, like a NumPy view."""

    def __init__(self, array, storage=None):
        array = np.asarray(array)
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        self.array, self.storage = array, storage or Storage(base)

    shape = property(lambda self: self.array.shape)

    def view(self, change):
        return Tensor(change(self.array), self.storage)

    def permute(self, *axes):
        return self.view(lambda array: array.transpose(axes))

    def __getitem__(self, key):
        return self.view(lambda array: array[key])

    def __reduce__(self):
        base, size = self.storage.numbers, self.array.itemsize
        start = self.array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        strides = tuple(stride // size for stride in self.array.strides)
        return rebuild_tensor, (self.storage, start // size, self.shape, strides, False, collections.OrderedDict())


class Parameter:
    def __init__(self, data):
        self.data = data

    shape = property(lambda self: self.data.shape)

    def __reduce__(self):
        return rebuild_parameter, (self.data, True, collections.OrderedDict())


@named("torch.utils.data.dataset")
class TensorDataset:
    def __init__(self, *tensors):
        self.tensors = tensors


class Module:
    def __init__(self):
        parts = {part: collections.OrderedDict() for part in ("_parameters", "_buffers", "_modules")}
        self.__dict__.update(training=True, **parts)

    def __setattr__(self, name, value):
        part = {Parameter: "_parameters", Tensor: "_buffers"}.get(type(value))
        part = "_modules" if isinstance(value, Module) else part
        (self.__dict__[part] if part else self.__dict__)[name] = value

    def __getattr__(self, name):
        for part in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(part, {}):
                return self.__dict__[part][name]
        raise AttributeError(name)

    def state_dict(self, prefix=""):
        state = collections.OrderedDict()
        for part in ("_parameters", "_buffers"):
            for name, value in self.__dict__[part].items():
                if value is not None:
                    state[prefix + name] = value.data if isinstance(value, Parameter) else value
        for name, module in self.__dict__["_modules"].items():
            state.update(module.state_dict(f"{prefix}{name}."))
        state._metadata = collections.OrderedDict()
        return state


def zeros(*shape):
    return Tensor(np.zeros(shape, np.float32))


@named("torch.nn.modules.linear")
class Linear(Module):
    def __init__(self, i, o, bias=True):
        super().__init__()
        self.in_features, self.out_features, self.weight = i, o, Parameter(zeros(o, i))
        self._parameters["bias"] = Parameter(zeros(o)) if bias else None


@named("torch.nn.modules.conv")
class Conv2d(Module):
    def __init__(self, i, o, kernel_size, stride=1, padding=0, groups=1):
        super().__init__()
        self.groups, self.kernel_size = groups, (kernel_size, kernel_size)
        self.weight, self.bias = Parameter(zeros(o, i // groups, kernel_size, kernel_size)), Parameter(zeros(o))


@named("torch.nn.modules.normalization")
class LayerNorm(Module):
    def __init__(self, d, eps=1e-5):
        super().__init__()
        self.eps, self.weight, self.bias = eps, Parameter(zeros(d)), Parameter(zeros(d))


@named("torch.nn.modules.batchnorm")
class BatchNorm2d(Module):
    def __init__(self, d):
        super().__init__()
        self.eps, self.weight, self.bias = 1e-5, Parameter(zeros(d)), Parameter(zeros(d))
        self.running_mean, self.running_var = zeros(d), zeros(d)
        self.num_batches_tracked = Tensor(np.array(0))


@named("torch.nn.modules.container")
class Sequential(Module):
    def __init__(self, *modules):
        super().__init__()
        for number, module in enumerate(modules):
            setattr(self, str(number), module)


@named("torch.nn.modules.container")
class ModuleList(Sequential):
    def __init__(self, modules):
        super().__init__(*modules)


@named("torch.nn.modules.activation")
class ReLU(Module):
    pass


@named("torch.nn.parallel.data_parallel")
class DataParallel(Module):
    def __init__(self, module):
        super().__init__()
        self.device_ids, self.module = [], module


class Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.keys = {}

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        key = self.keys.setdefault(id(thing.numbers), (str(len(self.keys)), thing))[0]
        storage = class_of[STORAGES[thing.numbers.dtype.name]]
        return "storage", storage, key, "cpu", thing.numbers.size


def save(thing, path):
    text = io.BytesIO()
    pickler = Pickler(text)
    pickler.dump(thing)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", text.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, storage in pickler.keys.values():
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(storage.numbers).tobytes())
        archive.writestr("archive/version", "3\n")


def from_numpy(array):
    return Tensor(array)


nn = types.SimpleNamespace(
    Module=Module, Parameter=Parameter, Linear=Linear, Conv2d=Conv2d, LayerNorm=LayerNorm, BatchNorm2d=BatchNorm2d,
    Sequential=Sequential, ModuleList=ModuleList, ReLU=ReLU, DataParallel=DataParallel, MaxPool2d=lambda *_: ReLU(),
    AvgPool2d=lambda *_: ReLU(), Flatten=ReLU, SiLU=ReLU)
