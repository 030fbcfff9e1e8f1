"""ONNX Runtime and OpenVINO behind one call: arrays in, arrays out, on the CPU.

Both get as many threads as PyTorch has (`torch.get_num_threads()`).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

INSTALL = 'exported networks need onnx, onnxruntime, onnxscript and openvino: pip install "forgescope[export]"'
NETWORK_FILES = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}
# OpenVINO's names of types. On processors with bfloat16 it would choose that by itself, so float32 is asked for too.
OPENVINO_TYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}
ONNX_QUIET = 3  # ONNX Runtime's log level of errors; below it warns of each weight that it converts


class Runtime(Protocol):
    """A network ready to run."""

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the network once.

        Args:
            inputs: float32 arrays by name of the input.

        Returns:
            One array an output, in the network's order.

        Raises:
            ValueError: the runtime refuses the inputs.
        """


def load_runtime(to: str, folder: Path, dtype: torch.dtype, usual_shapes: Mapping[str, list[int]]) -> Runtime:
    """Read the network of a folder.

    Args:
        to: "onnx" or "openvino".
        folder: with the file that `NETWORK_FILES` names.
        dtype: of the arithmetic, float32, or bfloat16 with OpenVINO.
        usual_shapes: of the inputs by name; a network of any size is compiled for them in particular.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: no such file, or a damaged one.
    """
    file = folder / NETWORK_FILES[to]
    if not file.is_file():
        raise ValueError(f"'{folder}' has no {file.name}: export the checkpoint again")
    if to == "onnx":
        return OnnxRuntime(file)
    return OpenVinoRuntime(file, dtype, usual_shapes)


class OnnxRuntime:
    """A `.onnx` file in ONNX Runtime; see `load_runtime`."""

    def __init__(self, file: Path):
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(INSTALL) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ONNX_QUIET
        # its exceptions have no common base but Exception
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"'{file}' is no network that ONNX Runtime can read: {first_line(error)}") from error

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `Runtime`."""
        try:
            return self.session.run(None, dict(inputs))
        except Exception as error:
            raise ValueError(f"ONNX Runtime refused the network or its inputs: {first_line(error)}") from error


class OpenVinoRuntime:
    """An OpenVINO network; see `load_runtime`.

    Its kernels for one fixed size are about 1.5 times as fast as those for any size (docs/performance.md), so the
    usual shape is compiled by itself, and the network for all others when one comes.
    """

    def __init__(self, file: Path, dtype: torch.dtype, usual_shapes: Mapping[str, list[int]]):
        self.usual_shapes, self.compiled = dict(usual_shapes), {}  # type: ignore[var-annotated]
        self.core = import_openvino().Core()
        self.settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": OPENVINO_TYPES[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        try:
            self.network = self.core.read_model(str(file))
        except RuntimeError as error:
            raise ValueError(f"'{file}' is no network that OpenVINO can read: {first_line(error)}") from error

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `Runtime`."""
        usual = all(list(array.shape) == self.usual_shapes[name] for name, array in inputs.items())
        try:
            found = self._compiled(usual)(dict(inputs))
        except RuntimeError as error:
            raise ValueError(f"OpenVINO refused the network or its inputs: {first_line(error)}") from error
        return list(found.values())

    def _compiled(self, usual: bool) -> Any:
        """The network for the usual shapes, or for all others."""
        if usual not in self.compiled:
            network = self.network
            if usual and network.is_dynamic():
                network = network.clone()
                network.reshape(self.usual_shapes)
            self.compiled[usual] = self.core.compile_model(network, "CPU", self.settings)
        return self.compiled[usual]


def import_openvino() -> Any:
    """Import OpenVINO without the package that reports every import of it to a web service.

    A program that has imported OpenVINO before keeps what it has.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    # OpenVINO goes on without telemetry when this package cannot be imported
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ImportError(INSTALL) from error
    return openvino


def first_line(error: Exception) -> str:
    """First line of a message that has text; the rest names source files of the runtimes."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
