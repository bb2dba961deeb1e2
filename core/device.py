"""Starts TensorFlow the way runs rely on, and says in words what it computes on."""

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what libraries write to stderr (TensorFlow greets in ten lines); show it if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_tensorflow():
    """Import TensorFlow and Keras without their greetings; return the module and the GPUs that it sees."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster or equal: benchmarks/training.py
    with quiet_stderr():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it takes one network a fold for one that is traced again and again
        return tf, tf.config.list_physical_devices("GPU")


def usable_cores() -> int:
    """Return how many cores this process may use: on a shared machine often fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none


def list_gpus(root: Path = Path("/")) -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; no library is asked.

    Args:
        root: where dev/ is looked for.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return list(itertools.takewhile(lambda name: name not in ("", "-1", "NoDevFiles"), names))
    numbers = sorted(int(path.name[6:]) for path in root.glob("dev/nvidia[0-9]*") if path.name[6:].isdigit())
    return [str(place) for place in range(len(numbers))]


def share_cores(branches: int) -> None:
    """Let a network's branches be computed side by side, each by its share of the cores, if TensorFlow has not started.

    By itself it gives every operation all cores, and those of two branches wait for each other's threads. Who has set
    TensorFlow's variables for this keeps what is set.
    """
    if min(branches, usable_cores()) < 2:
        return
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(branches))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(usable_cores() // branches, 1)))


def start_tensorflow(branches: int = 1, mixed: bool = True) -> str:
    """Import TensorFlow for repeatable runs and return what it computes on, in words.

    With the same seed the same machine gives the same numbers. A GPU's memory is taken as needed, and its
    matrix products are done in float16 with float32 sums where the chip has units for it.

    Args:
        branches: of the network, alike in work; 1 where it is a chain.
        mixed: let a GPU that is fast at it compute in float16; a network whose numbers need float32 says no.
    """
    share_cores(branches)
    tf, gpus = import_tensorflow()
    import keras

    tf.config.experimental.enable_op_determinism()
    if not gpus:
        return f"CPU, {usable_cores()} {'core' if usable_cores() == 1 else 'cores'}{why_no_gpu(tf)}"
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpus[0])
    if mixed and details.get("compute_capability", (0, 0)) >= (7, 0):
        keras.mixed_precision.set_global_policy("mixed_float16")
    return f"GPU {details.get('device_name', '')}, {keras.mixed_precision.dtype_policy().name}"


def why_no_gpu(tf, root: Path = Path("/")) -> str:
    """Return why a GPU that this machine has is not used, or "" where it has none.

    Args:
        tf: the tensorflow module.
        root: where proc/ and dev/ are looked for.
    """
    if not ((root / "proc/driver/nvidia/gpus").exists() or (root / "dev/nvidia0").exists()):
        return ""
    first_visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first_visible in ("", "-1", "NoDevFiles"):  # CUDA stops at the first that it does not know
        return "; this machine's NVIDIA GPU is not used: CUDA_VISIBLE_DEVICES hides it"
    if not tf.test.is_built_with_cuda():
        return "; this machine's NVIDIA GPU is not used: this TensorFlow is built without CUDA"
    return "; this machine's NVIDIA GPU is not used: no CUDA found, pip install 'tensorflow[and-cuda]' brings it"
