"""A torch module behind the face of sdk.Encoder, so that training is judged by the path a search takes.

Decoding, resizing, normalisation, batching, roles and the check for unit length are the SDK's; only the
engine differs: the graphs that the module would export run in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import MissingRoleError
from sdk.graphs import Graph, ordered, split_target
from sdk.preprocess import TextPreprocess, TextSpec

MAX_BATCH = 64


class ModuleEncoder(Encoder):
    """Encoder over what ``train.checkpoint.load`` returns: `export_graphs()`, `roles`, `image_spec`, ….

    The graphs share the module's tensors: weights that training changes later are seen. Put the module in
    evaluation mode first (`evaluating`).
    """

    def __init__(self, module: Any, device: str | torch.device = "cpu") -> None:
        super().__init__(cast(Bundle, ModuleBundle(module)), TorchSession(module, device))
        self._text = ModuleText(module.text_spec, module.tokenizer)


class ModuleBundle:
    """The part of a Bundle's face that encoding needs, read off a module."""

    def __init__(self, module: Any) -> None:
        self.name, self.max_batch = str(module.recipe), MAX_BATCH
        self.image_spec, self.text_spec, self.schema = module.image_spec, module.text_spec, module.schema
        self.roles: Mapping[str, str] = module.roles
        self.graphs = ordered(
            {
                graph.name: Graph(
                    graph.name, (), graph.inputs, {name: shape[1:] for name, shape in graph.outputs.items()}
                )
                for graph in module.export_graphs()
            }
        )

    def role(self, name: str) -> tuple[str, str]:
        if name not in self.roles:
            raise MissingRoleError(
                f"model {self.name!r} has no role {name!r}; it has {', '.join(self.roles)}"
            )
        return split_target(self.roles[name])


class ModuleText(TextPreprocess):
    """Texts → (n, length) int64 ids by the model's own tokenizer, which cleans them itself."""

    def __init__(self, spec: TextSpec, tokenizer: Callable[[list[str]], Any]) -> None:
        self.spec, self._own = spec, tokenizer

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.asarray(self._own(list(texts)), np.int64).reshape(len(texts), self.spec.length)


class TorchSession:
    """A Session that runs a module's export graphs in torch, without gradients."""

    def __init__(self, module: Any, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.report: dict[str, Any] = {
            "engine": "torch",
            "version": torch.__version__,
            "device": str(self.device),
        }
        self._graphs = {graph.name: graph for graph in module.export_graphs()}

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        made = self._graphs[graph]
        with torch.inference_mode():
            fed = [torch.from_numpy(inputs[name]).to(self.device) for name in made.inputs]
            out = made.module(*fed)
        tensors = out if isinstance(out, tuple) else (out,)
        return {name: t.float().cpu().numpy() for name, t in zip(made.outputs, tensors, strict=True)}

    def close(self) -> None:
        self._graphs = {}


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each submodule's own mode again after (a frozen BatchNorm stays frozen)."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
