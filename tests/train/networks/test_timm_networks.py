"""timm's networks, transformers too: preprocessing as timm says, sizes, heads, weights, and training steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from few_steps import losses_of
from torch.nn import functional

from subspace.mining.errors import InputError
from subspace.pipeline.exporting.weights_file import write_weights
from subspace.train import CheckpointMeta, load_network, save_checkpoint
from subspace.train.batch_norm import synchronize
from subspace.train.data.image_input import ImageInput
from subspace.train.data.preprocess_config import PreprocessConfig
from subspace.train.networks.building import build_backbone
from subspace.train.networks.head import head_parameters
from subspace.train.networks.timm_networks import _input, import_timm

try:
    timm = import_timm()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NETWORKS = [
    ("resnet18", ImageInput(224, *IMAGENET, "crop", 0.95, "bicubic"), 512),
    ("vit_tiny_patch16_224", ImageInput(224, 0.5, 0.5, "crop", 0.9, "bicubic"), 192),
    ("vit_small_patch16_dinov3.lvd1689m", ImageInput(256, *IMAGENET, "crop", 1.0, "bicubic"), 384),
    ("resnet50_clip.openai", ImageInput(224, *CLIP, "crop", 0.9, "bicubic"), 2048),
    ("mobilenetv3_small_050", ImageInput(224, *IMAGENET, "crop", 0.875, "bicubic"), 1024),
]


@pytest.mark.parametrize(("name", "image_input", "features"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_preprocessing_and_embedding_are_timms(name: str, image_input: ImageInput, features: int) -> None:
    network = build_backbone(f"timm:{name}").eval()
    wanted = image_input.to_json() | {
        key: [value] * 3
        for key, value in (("mean", image_input.mean), ("std", image_input.std))
        if value == 0.5
    }
    assert network.input == ImageInput.from_json(wanted)
    assert (network.spec, network.embedding_size, network.remarks) == (f"timm:{name}", features, ())
    images = torch.randint(0, 256, (1, 3, network.input.height, network.input.width), dtype=torch.uint8)
    with torch.no_grad():
        embeddings = network(images)
        normalised = functional.normalize(network.body(network.input.normalize(images)))
    torch.testing.assert_close(embeddings, normalised)
    assert embeddings.shape == (1, features)


def test_timms_own_transform_prepares_the_same_values() -> None:
    network = build_backbone("timm:resnet18")
    from PIL import Image

    config = timm.data.resolve_model_data_config(network.body)
    picture = Image.effect_noise((224, 224), 60).convert("RGB")
    theirs = timm.data.create_transform(**{**config, "crop_pct": 1.0}, is_training=False)(picture)
    array = (
        torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(224, 224, 3).permute(2, 0, 1)
    )
    torch.testing.assert_close(network.input.normalize(array[None])[0], theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_another_size_and_embedding_come_back_from_a_checkpoint(name: str, tmp_path: Path) -> None:
    asked = PreprocessConfig(size=(64, 96), resize="letterbox")
    network = build_backbone(f"timm:{name}", embedding_size=24, preprocess=asked).eval()
    assert (network.input.size, network.input.resize, network.embedding_size) == ((64, 96), "letterbox", 24)
    assert "a linear layer makes 24 numbers of timm's" in network.remarks[0]
    assert head_parameters(network) == {"body.embedding.weight", "body.embedding.bias"}
    save_checkpoint(tmp_path / "c", network, CheckpointMeta(network.spec, 24, step=0, fingerprint="mine"))
    again = load_network(f"checkpoint:{tmp_path}/c").eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
    assert again.input == network.input


def test_weights_are_drawn_by_seed_and_taken_from_a_file(tmp_path: Path) -> None:
    first, again, other = (build_backbone("timm:resnet18", seed=seed).body.conv1.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    whole = timm.create_model("resnet18")  # with a classifier, as published weights have
    torch.save(
        {"state_dict": {f"module.{name}": w for name, w in whole.state_dict().items()}}, tmp_path / "w.pth"
    )
    network = build_backbone("timm:resnet18", embedding_size=16, weights=f"{tmp_path}/w.pth")
    assert torch.equal(network.body.features.conv1.weight, whole.conv1.weight)
    assert "ignored state_dict.module.fc.weight, state_dict.module.fc.bias" in network.remarks[1]


def test_the_weights_of_a_layer_that_was_added_are_taken_too(tmp_path: Path) -> None:
    ours = build_backbone("timm:resnet10t", embedding_size=16, seed=3)
    assert ours.remarks[0].endswith("features; its weights are drawn")
    write_weights(tmp_path / "w.safetensors", ours, {})
    file = str(tmp_path / "w.safetensors")
    again = build_backbone("timm:resnet10t", embedding_size=16, seed=4, weights=file)
    assert torch.equal(again.body.embedding.weight, ours.body.embedding.weight)
    assert torch.equal(again.body.features.conv1[0].weight, ours.body.features.conv1[0].weight)
    assert again.remarks[0].endswith("timm's 512 features")
    assert again.remarks[1].endswith("tensors of " + file)
    other = build_backbone("timm:resnet10t", embedding_size=8, weights=f"{file}#features")
    assert other.remarks[0].endswith("its weights are drawn")


@pytest.mark.parametrize(
    ("mode", "crop", "fitted", "remarks"),
    [
        ("center", 0.9, ("crop", 0.9), []),
        ("center", 1.15, ("crop", 1.0), ["timm's crop of 1.15 is not made"]),
        ("squash", 1.0, ("stretch", 1.0), []),
        ("squash", 0.95, ("stretch", 1.0), ["timm's crop of 0.95 is not made"]),
        ("border", 1.0, ("letterbox", 1.0), ["timm's bars have the mean colour"]),
    ],
)
def test_where_images_are_not_prepared_as_timm_does_is_said(
    mode: str, crop: float, fitted: tuple[str, float], remarks: list[str]
) -> None:
    config = {"input_size": (3, 64, 64), "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    image_input, said = _input("some", {**config, "crop_mode": mode, "crop_pct": crop})
    assert (image_input.resize, image_input.crop) == fitted
    assert len(said) == len(remarks)
    assert all(map(str.startswith, said, remarks))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t"])
def test_it_trains(name: str) -> None:
    network = build_backbone(f"timm:{name}", preprocess=PreprocessConfig(size=64), embedding_size=16).train()
    losses = losses_of(network, torch.optim.AdamW(network.parameters(), lr=3e-4), steps=8)
    assert losses[-1] < 0.9 * losses[0], losses


def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(spec: str, **options: object) -> str:
        with pytest.raises(InputError) as caught:
            build_backbone(spec, **options)  # pyright: ignore[reportArgumentType]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refused("timm:resnet19").endswith("has no resnet19; did you mean timm:resnet18?")
    assert "timm:resnet18.no_such cannot be built: Invalid pretrained tag" in refused("timm:resnet18.no_such")

    def fails(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm.models._builder, "load_pretrained", fails)
    assert (
        "timm:resnet18 cannot fetch its weights: no route to host; fetch them elsewhere and give --weights FILE"
        in refused("timm:resnet18", weights="pretrained")
    )


def test_without_timm_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from subspace.train import build_backbone\n"
        "try:\n    build_backbone('timm:resnet18')\nexcept ValueError as error:\n    print(error)"
    )
    for package in ("timm", "torchvision"):
        done = subprocess.run(
            [sys.executable, "-c", script, package], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"timm: {package} is missing: pip install 'subspace-mining[timm]'\n"


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "regnetx_002"])
def test_synchronised_batch_norms_still_activate(name: str) -> None:
    """Those of timm hold the activation, which is in no state dict: without it nothing would be seen to be missing."""
    network = build_backbone(f"timm:{name}").eval()
    images = torch.randint(0, 256, (1, 3, network.input.height, network.input.width), dtype=torch.uint8)
    names = list(network.state_dict())
    with torch.no_grad():
        before = network(images)
        synchronize(network, torch.device("cpu"))
        torch.testing.assert_close(network(images), before)
    assert list(network.state_dict()) == names
    assert not any(type(module).__name__ == "BatchNormAct2d" for module in network.modules())
