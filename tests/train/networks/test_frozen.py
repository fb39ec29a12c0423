"""Networks from ONNX, TorchScript and torch.export files: equal to torch, kept in checkpoints, bad ones refused.

Covers train/networks/onnx_file.py and train/networks/torch_file.py too.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from subspace.mining.errors import InputError
from subspace.train import CheckpointMeta, ImageBatch, embed, load_network, save_checkpoint
from subspace.train.data.image_input import ImageInput
from subspace.train.data.preprocess_config import PreprocessConfig
from subspace.train.networks.backbone import Backbone
from subspace.train.networks.building import build_backbone
from subspace.train.networks.frozen import FrozenNetwork
from subspace.train.networks.torch_file import ScriptNetwork

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE, D = (8, 6), 5
GIVEN = PreprocessConfig(mean=0.25, std=0.5, channels="BGR")
OWN = ImageInput(SIZE, 0.25, 0.5, channels="BGR")
IMAGES = torch.randint(0, 256, (5, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4 * SIZE[0] * SIZE[1], D)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.convolution(images)).flatten(1))


@pytest.fixture(scope="module")
def body() -> Body:
    torch.manual_seed(0)
    return Body().eval()


@pytest.fixture(scope="module")
def expected(body: Body) -> torch.Tensor:
    with torch.no_grad():
        return Backbone(body, spec="torch", input=OWN, embedding_size=D)(IMAGES)


def write_onnx(
    path: Path, body: Body, *, batch: int | str = "n", dtype: int = 1, layout: str = "BCHW", outputs: int = 1,
    metadata: dict[str, str] | None = None, external: bool = False, stray_input: bool = False,
) -> None:  # fmt: skip
    """The body by onnx's own helpers: no exporter of torch's is trusted to test ours."""
    helper, numpy = onnx.helper, onnx.numpy_helper
    w = {name.replace(".", "_"): tensor.numpy() for name, tensor in body.state_dict().items()}
    shape = [batch, 3, *SIZE] if layout == "BCHW" else [batch, *SIZE, 3]
    nodes, x = [], "images"
    if layout == "BHWC":
        nodes.append(helper.make_node("Transpose", [x], ["moved"], perm=[0, 3, 1, 2]))
        x = "moved"
    if dtype != 1:
        nodes.append(helper.make_node("Cast", [x], ["cast"], to=1))
        x = "cast"
    if dtype == 2:  # preprocessing inside: BGR and the normalisation of OWN
        w |= {"order": np.array([2, 1, 0]), "scale": np.float32(1 / 127.5), "offset": np.float32(0.5)}
        nodes += [
            helper.make_node("Gather", [x, "order"], ["bgr"], axis=1),
            helper.make_node("Mul", ["bgr", "scale"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "offset"], ["normal"]),
        ]
        x = "normal"
    nodes += [
        helper.make_node("Conv", [x, "convolution_weight", "convolution_bias"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("Flatten", ["positive"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc_weight", "fc_bias"], ["embedding"], transB=1),
    ]
    info = helper.make_tensor_value_info
    inputs = [info("images", dtype, shape)] + [info("unused_weight", 1, [4])] * stray_input
    results = [info("embedding", 1, [batch, D]), info("flat", 1, [batch, 4 * 8 * 6])][:outputs]
    graph = helper.make_graph(
        nodes, "body", inputs, results, [numpy.from_array(np.ascontiguousarray(v), k) for k, v in w.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model) if not stray_input else None
    onnx.save_model(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)


def opened(spec: str, preprocess: PreprocessConfig = GIVEN) -> Backbone:
    network = build_backbone(spec, preprocess=preprocess)
    assert isinstance(network.body, FrozenNetwork)
    return network


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"batch": 1},
        {"batch": 3},
        {"layout": "BHWC"},
        {"layout": "BHWC", "batch": 2},
        {"dtype": 10},
        {"stray_input": True},
        {"external": True},
    ],
    ids=str,
)
def test_onnx_equals_torch(how: dict[str, Any], body: Body, expected: torch.Tensor, tmp_path: Path) -> None:
    write_onnx(tmp_path / "a.onnx", body, **how)
    network = opened(f"onnx:{tmp_path}/a.onnx")
    assert (network.spec, network.input, network.embedding_size) == ("onnx:a.onnx", OWN, D)
    tolerance = 3e-3 if how.get("dtype") == 10 else 1e-5
    torch.testing.assert_close(network(IMAGES), expected, rtol=0, atol=tolerance)
    assert network(IMAGES[:0]).shape == (0, D) if not how.get("batch") else True


def test_uint8_onnx_normalises_itself(body: Body, expected: torch.Tensor, tmp_path: Path) -> None:
    metadata = {"input": json.dumps(OWN.to_json()), "preprocessing": "inside"}
    write_onnx(tmp_path / "a.onnx", body, dtype=2, metadata=metadata)
    network = opened(f"onnx:{tmp_path}/a.onnx", PreprocessConfig())
    torch.testing.assert_close(network(IMAGES), expected, rtol=0, atol=1e-5)
    write_onnx(tmp_path / "b.onnx", body, dtype=2)
    assert torch.equal(
        opened(f"onnx:{tmp_path}/b.onnx", PreprocessConfig(channels="RGB"))(IMAGES), network(IMAGES)
    )
    with pytest.raises(
        InputError, match=r"b.onnx does not say how its images are prepared; give preprocess.channels$"
    ):
        opened(f"onnx:{tmp_path}/b.onnx", PreprocessConfig())
    with pytest.raises(
        InputError, match=r"takes uint8 images and normalises them itself; leave preprocess.mean"
    ):
        opened(f"onnx:{tmp_path}/a.onnx", PreprocessConfig(mean=0.5))


def test_what_a_file_says_of_its_images_is_taken(body: Body, tmp_path: Path) -> None:
    said = ImageInput(SIZE, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "crop", 0.9, "bicubic", "BGR")
    write_onnx(tmp_path / "a.onnx", body, metadata={"input": json.dumps(said.to_json())})
    assert opened(f"onnx:{tmp_path}/a.onnx", PreprocessConfig()).input == said
    assert (
        opened(f"onnx:{tmp_path}/a.onnx", PreprocessConfig(resize="stretch", crop=1)).input.resize
        == "stretch"
    )


def test_one_of_several_outputs_is_named(body: Body, expected: torch.Tensor, tmp_path: Path) -> None:
    write_onnx(tmp_path / "a.onnx", body, outputs=2)
    with pytest.raises(
        InputError, match=r"outputs embedding, flat; name the one with the embedding, .*a.onnx#emb"
    ):
        opened(f"onnx:{tmp_path}/a.onnx")
    torch.testing.assert_close(
        opened(f"onnx:{tmp_path}/a.onnx#embedding")(IMAGES), expected, rtol=0, atol=1e-5
    )
    with pytest.raises(InputError, match="has no output x; it has embedding, flat"):
        opened(f"onnx:{tmp_path}/a.onnx#x")


def write_script(path: Path, body: Body, said: dict[str, str] | None = None) -> None:
    script = torch.jit.trace(body, torch.zeros(2, 3, *SIZE))
    torch.jit.save(script, path, _extra_files={"description.json": json.dumps(said)} if said else None)


def write_program(path: Path, body: Body, said: dict[str, str] | None = None, *, fixed: bool = False) -> None:
    shapes = None if fixed else {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(body, (torch.zeros(2, 3, *SIZE),), dynamic_shapes=shapes)
    torch.export.save(program, path, extra_files={"description.json": json.dumps(said)} if said else None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_of_torch_equal_torch(body: Body, expected: torch.Tensor, tmp_path: Path) -> None:
    said = {"input": json.dumps(OWN.to_json())}
    sized = GIVEN.model_copy(update={"size": SIZE})
    write_script(tmp_path / "a.pt", body)
    write_script(tmp_path / "said.pt", body, said)
    write_program(tmp_path / "a.pt2", body)
    write_program(tmp_path / "said.pt2", body, said)
    write_program(tmp_path / "fixed.pt2", body, fixed=True)
    for spec, preprocess in (
        ("torchscript:a.pt", sized), ("torchscript:said.pt", PreprocessConfig()), ("exported:a.pt2", GIVEN),
        ("exported:said.pt2", PreprocessConfig()), ("exported:fixed.pt2", GIVEN),
    ):  # fmt: skip
        network = opened(spec.replace(":", f":{tmp_path}/"), preprocess)
        assert (network.spec, network.input.height_and_width) == (spec, SIZE)
        torch.testing.assert_close(network(IMAGES), expected, rtol=0, atol=1e-5)
        assert network.body.weights == sum(p.numel() for p in body.parameters())
    with pytest.raises(InputError, match=r"give preprocess.size; InsightFace"):
        opened(f"torchscript:{tmp_path}/a.pt", GIVEN)


Writer = Callable[[Path, Body], None]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("prefix", "write", "kept"),
    [
        ("onnx", lambda path, body: write_onnx(path, body, external=True, batch=2), "model.onnx"),
        ("torchscript", write_script, "model.torchscript"),
        ("exported", write_program, "model.pt2"),
    ],
)
def test_a_checkpoint_has_its_own_copy(
    prefix: str, write: Writer, kept: str, body: Body, expected: torch.Tensor, tmp_path: Path
) -> None:
    (tmp_path / "away").mkdir()
    write(tmp_path / "away" / "net", body)
    network = opened(f"{prefix}:{tmp_path}/away/net", GIVEN.model_copy(update={"size": SIZE}))
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, network, CheckpointMeta(network.spec, D, step=0, fingerprint="mine"))
    assert sorted(path.name for path in folder.iterdir()) == sorted(["meta.json", kept, "model.safetensors"])
    for path in (tmp_path / "away").iterdir():
        path.unlink()
    again = load_network(f"checkpoint:{folder}")
    assert (again.spec, again.input) == (network.spec, network.input)
    torch.testing.assert_close(again(IMAGES), expected, rtol=0, atol=1e-5)
    [embedded] = embed(again, [ImageBatch(0, np.arange(5), IMAGES, [])], torch.device("cpu"), "bf16-mixed")
    np.testing.assert_allclose(
        embedded.embeddings, expected.numpy(), atol=1e-5
    )  # float32 under autocast, too
    assert torch.equal(copy.deepcopy(again)(IMAGES), again(IMAGES))
    (folder / kept).unlink()
    with pytest.raises(InputError, match=kept):
        load_network(f"checkpoint:{folder}")


def test_what_is_no_network_is_one_line(body: Body, tmp_path: Path) -> None:
    def refused(spec: str, preprocess: PreprocessConfig = GIVEN, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            build_backbone(spec, preprocess=preprocess, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = tmp_path / "a.onnx"
    write_onnx(path, body)
    for prefix in ("onnx", "torchscript", "exported"):
        assert "No such file" in (no := refused(f"{prefix}:{tmp_path}/none")) or "no such file" in no
        (tmp_path / "bad").write_bytes(b"\x08\x01nothing")
        assert "is not a readable" in refused(f"{prefix}:{tmp_path}/bad")
    assert (
        "does not say how its images are prepared; give preprocess.mean, preprocess.std, preprocess.channels"
        in (refused(f"onnx:{path}", PreprocessConfig()))
    )
    assert "takes [8, 6] (height, width) only" in refused(
        f"onnx:{path}", GIVEN.model_copy(update={"size": 16})
    )
    assert f"embedding_size=7, but {path} makes 5 numbers" in refused(f"onnx:{path}", embedding_size=7)
    write_onnx(path, body, metadata={"input": "{"})
    assert "what it says of its images is not readable" in refused(f"onnx:{path}")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = 7
    onnx.save(model, path)
    assert "images are [B, 3, H, W] or [B, H, W, 3] of float32" in refused(f"onnx:{path}")
    write_onnx(path, body, external=True)
    (tmp_path / "weights.bin").unlink()
    assert "is not a readable ONNX file" in refused(f"onnx:{path}")


def test_nothing_of_an_exported_program_is_unpickled(body: Body, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return (Path.touch, (tmp_path / "ran",))

    write_program(tmp_path / "a.pt2", body)
    payload = io.BytesIO()
    torch.save(Runs(), payload)
    with zipfile.ZipFile(tmp_path / "a.pt2") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(entries)).partition("/")[0]
    inputs = next(name for name in entries if "sample_inputs" in name)
    for name, data in (
        (f"{root}/data/constants/opaque_obj_0", pickle.dumps(Runs())),
        (inputs, payload.getvalue()),
    ):
        with zipfile.ZipFile(tmp_path / "bad.pt2", "w") as archive:
            for entry, content in {**entries, name: data}.items():
                archive.writestr(entry, content)
        with pytest.raises(InputError, match=r"bad.pt2 is not a readable torch.export file"):
            opened(f"exported:{tmp_path}/bad.pt2")
        assert not (tmp_path / "ran").exists()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.filterwarnings("ignore:onnxruntime works on the CPU here", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("prefix", "write"), [("onnx", write_onnx), ("torchscript", write_script), ("exported", write_program)]
)
def test_images_on_a_gpu(
    prefix: str, write: Writer, body: Body, expected: torch.Tensor, tmp_path: Path
) -> None:
    write(tmp_path / "net", body)
    network = opened(f"{prefix}:{tmp_path}/net", GIVEN.model_copy(update={"size": SIZE})).to("cuda")
    out = network(IMAGES.cuda())
    assert out.is_cuda
    torch.testing.assert_close(out.cpu(), expected, rtol=0, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_script_that_was_saved_in_training_mode_is_opened_for_use_on_every_device(tmp_path: Path) -> None:
    """`eval()` does not reach the copy that a GPU has: it would drop out, and normalise by the batch."""
    body = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], D), nn.BatchNorm1d(D), nn.Dropout(0.5)
    )
    torch.jit.script(body.train()).save(str(tmp_path / "body.pt"))
    sized = GIVEN.model_copy(update={"size": SIZE})
    network = build_backbone(f"torchscript:{tmp_path / 'body.pt'}", preprocess=sized).body
    assert isinstance(network, ScriptNetwork)
    images = torch.rand(4, 3, *SIZE)
    torch.testing.assert_close(network._opened(torch.device("cpu"))(images), network.run(images))  # pyright: ignore[reportPrivateUsage]
