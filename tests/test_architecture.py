"""The house stands as it was drawn: imports point one way, only blas multiplies, the public names are these."""

import ast
import importlib
from pathlib import Path

import pytest

import mlkit

ROOT = Path(mlkit.__file__).parent
ORDER = (
    "errors", "file", "kernels", "blas", "plan", "tensor", "ops", "nn", "optim", "data", "train", "models", "io", "estimators",
    "parallel", "bench", "tasks", "cli",
)  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))
PRODUCTS = {"dot", "matmul", "einsum", "tensordot", "linalg", "inner", "vdot", "outer", "kron", "convolve", "correlate"}
PUBLIC = {
    "mlkit": """ArgumentError BlasError CaptureError CaptureWarning DataError DtypeError LibraryNotFound MlkitError
        NonFiniteError Parameter Plan PlanError ShapeError Tensor ThreadControlError blas capture fit load manual_seed nn
        no_grad ops optim save tensor""",
    "mlkit.blas": """Call Candidate Library Recording Report asum available axpby axpy bind bind_axpby current dot find gemm
        gemv knobs lapack loaded nrm2 recording report resolve scal use using""",
    "mlkit.plan": "Capture Captured Plan View capture capturing",
    "mlkit.ops": """absolute adaptive_avg_pool2d add avg_pool2d batch_norm binary_cross_entropy
        binary_cross_entropy_with_logits broadcast_to concatenate conv1d conv2d conv_transpose2d cross_entropy ctc_loss divide
        dropout elu embedding exp gelu getitem group_norm gru hardsigmoid hinge_embedding_loss huber_loss kl_div l1_loss
        layer_norm leaky_relu linear log log_softmax lstm matmul max max_pool2d mean min mish mse_loss multiply negative
        nll_loss normal_like pad permute power relu reshape rms_norm rnn rotary scaled_dot_product_attention self_attention
        sigmoid silu smooth_l1_loss softmax softplus sqrt subtract sum tanh transpose upsample""",
    "mlkit.nn": """AdaptiveAvgPool2d AvgPool2d BCELoss BCEWithLogitsLoss BatchNorm1d BatchNorm2d CTCLoss Conv1d Conv2d
        ConvTranspose2d CrossEntropyLoss Dropout ELU Embedding Flatten GELU GRU GroupNorm Hardsigmoid HingeEmbeddingLoss
        HuberLoss Identity KLDivLoss L1Loss LSTM Layer LayerNorm LeakyReLU Linear LogSoftmax MSELoss MaxPool2d Mish Module
        MultiheadAttention NLLLoss Pad RMSNorm RNN ReLU Sequential SiLU Sigmoid SinusoidalPosition SmoothL1Loss Softmax Softplus
        Summary Tanh TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer Upsample finite init
        manual_seed summary""",
    "mlkit.optim": """Adadelta Adagrad Adam AdamW CosineAnnealingLR CosineAnnealingWarmRestarts ExponentialLR LBFGS
        LambdaLR LevenbergMarquardt LinearLR Lion MultiStepLR NAdam OneCycleLR Optimizer RAdam RMSprop
        ReduceLROnPlateau SGD Scheduler SequentialLR StepLR clip_grad_norm_ clip_grad_value_""",
    "mlkit.data": """Board BytePairTokenizer CharTokenizer DataLoader Dataset FASHION Game Move PCA Split Standardizer
        augment csv_batches daily_series daily_views digits fashion_mnist image_folder log_mel one_hot pad_sequences
        random_split read_csv read_idx read_image read_rows read_sgf read_text read_wav resample stratified_split
        time_split windows""",
    "mlkit.train": """CSVLog Callback EarlyStopping History JSONLog Run ShowProgress Statistics Step TensorBoard evaluate find_lr
        fit metric predict""",
    "mlkit.io": "Checkpoint describe load load_tensors read_description save save_tensors",
    "mlkit.models": """AlexNet Autoencoder BagOfWords CharLSTM Detector Found GPT GoogLeNet LeNet5 MLP Perceptron ResNet
        Scene SmallResNet TransformerClassifier VAE VGGNet intersection_over_union least_squares
        mean_average_precision non_maximum_suppression sampled scenes xor""",
    "mlkit.tasks": "Page Predictor Rebuilt Result STUDIES Server Settings Study lecture rebuild save",
    "mlkit.bench": """Item Outcome Row Trace Tracer Training WORKLOADS Workload as_json available compete figure outcome paper race
        sentence suite table""",
}


def room(path):
    """The part of the house that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_modules(path):
    """The dotted names that a file imports, whether at its top or inside a function."""
    package = ["mlkit", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*module, alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    own = room(path)
    if own in ("__init__", "__main__"):
        return
    assert own in ORDER, f"{own} is no room of the house"
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "mlkit" and len(parts) > 1 and parts[1] in ORDER and parts[1] != own:
            assert ORDER.index(parts[1]) < ORDER.index(own), f"{own} imports {name}"


@pytest.mark.parametrize("path", [p for p in FILES if room(p) != "blas"], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_blas_multiplies_and_knows_ctypes(path):
    for name in imported_modules(path):
        assert name.split(".")[0] not in ("ctypes", "threadpoolctl", "_ctypes"), f"imports {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.MatMult), "uses @ on arrays"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy", "scipy"):
            assert node.attr not in PRODUCTS, f"line {node.lineno}: {node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_hides_a_cycle_inside_a_function(path):
    allowed = {
        "threadpoolctl",
        "rich",
        "concurrent",
        "subprocess",
        "tempfile",
        "difflib",
        "scipy",
        "resource",
        "tensorboardX",
        "matplotlib",
        "PIL",
    }  # slow, or not everywhere
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    assert not node.level, f"line {node.lineno} imports from the package inside {function.name}"
                    assert node.module.split(".")[0] in allowed
                elif isinstance(node, ast.Import):
                    assert {alias.name.split(".")[0] for alias in node.names} <= allowed


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_pinned(module):
    assert sorted(importlib.import_module(module).__all__) == sorted(PUBLIC[module].split())


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_function_has_a_docstring(module):
    loaded = importlib.import_module(module)
    for name in loaded.__all__:
        thing = getattr(loaded, name)
        if callable(thing):
            assert thing.__doc__, f"{module}.{name}"
