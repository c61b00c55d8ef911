"""The local enhancement network: its size, what it sees, and its weights on disk."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from facehall_env.core import HallucinationCore
from facehall_env.enhancer import (
    PRESETS,
    EnhancerConfig,
    EnhancerInput,
    IdentityEnhancer,
    LocalEnhancementNetwork,
    load_enhancer,
    make_enhancer,
)
from facehall_env.patches import PatchGeometry

SMALL = {"shape": (3, 24, 16), "patch_size": (8, 6)}
EXTRAS = ("coordinates", "location", "initial_patch")


def inputs(config: EnhancerConfig, rows: int = 2, seed: int = 0, dtype=torch.float32) -> EnhancerInput:
    """Noise of the shapes that a network was made for."""
    generator = torch.Generator().manual_seed(seed)
    shape = rows, config.channels, config.patch_height, config.patch_width
    patch, initial = (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1 for _ in range(2))
    picture = torch.rand(rows, config.channels, config.height, config.width, generator=generator, dtype=dtype)
    centre = torch.rand(rows, 2, generator=generator, dtype=dtype) * 2 - 1
    return EnhancerInput(patch, 2 * picture - 1, centre, initial)


def awake(network: LocalEnhancementNetwork, seed: int = 0) -> LocalEnhancementNetwork:
    """The same network with weights in place of the zeros of its last layer."""
    torch.nn.init.normal_(
        network.convolutions[-1].weight, std=0.05, generator=torch.Generator().manual_seed(seed)
    )
    return network


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# --- size ---------------------------------------------------------------------------------------------


def test_the_papers_network_has_the_parameters_of_its_table():
    network = make_enhancer("paper")
    table = [
        (6, 16, 5),
        (16, 32, 7),
        (32, 64, 7),
        (64, 64, 7),
        (64, 64, 7),
        (64, 32, 7),
        (32, 16, 5),
        (16, 3, 5),
    ]
    convolutions = sum(before * after * kernel**2 + after for before, after, kernel in table)
    branch = sum(
        before * after + after for before, after in [(3 * 128 * 128, 256), (256, 256), (256, 3 * 60 * 45)]
    )
    assert parameters(network) == convolutions + branch
    layers = [layer for layer in network.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in layers] == table
    assert all(layer.stride == (1, 1) for layer in layers)
    assert isinstance(network.convolutions[-1], torch.nn.Conv2d)  # the residual is linear
    assert len(network.convolutions) == 15


@pytest.mark.parametrize(
    ("extra_inputs", "added"),
    [
        (("coordinates",), 2 * 16 * 25),
        (("location",), 2 * 256),
        (("initial_patch",), 3 * 16 * 25),
        (EXTRAS, 5 * 16 * 25 + 2 * 256),
    ],
    ids=str,
)
def test_extra_inputs_cost_a_few_parameters(extra_inputs, added):
    plain = make_enhancer("paper", **SMALL)
    assert parameters(make_enhancer("paper", **SMALL, extra_inputs=extra_inputs)) == parameters(plain) + added


def test_the_texts_kernels_are_smaller_in_the_first_and_the_seventh_convolution():
    network = make_enhancer("paper", edge_kernel=3, **SMALL)
    layers = [layer for layer in network.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in layers] == [3, 7, 7, 7, 7, 7, 3, 5]
    data = inputs(network.config)
    assert network(data).shape == data.patch.shape


@pytest.mark.parametrize(("preset", "share"), [("half", 2), ("tiny", 4)])
def test_small_presets_have_a_share_of_the_channels(preset, share):
    assert PRESETS[preset]["widths"] == tuple(width // share for width in EnhancerConfig().widths)
    assert PRESETS[preset]["global_features"] == EnhancerConfig().global_features // share


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(3, 128, 128), (1, 160, 120)])
def test_every_preset_enhances_the_papers_patches(preset, shape):
    network = make_enhancer(preset, shape=shape).eval()
    data = inputs(network.config, rows=1)
    with torch.no_grad():
        enhanced = network(data)
    assert enhanced.shape == (1, shape[0], 60, 45)
    assert torch.isfinite(enhanced).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "extra_inputs", [(), ("coordinates",), ("location",), ("initial_patch",), EXTRAS], ids=str
)
@pytest.mark.parametrize(
    ("global_features", "patch_size"), [(5, (8, 6)), (5, (7, 5)), (0, (8, 6)), (0, (1, 1))]
)
@pytest.mark.parametrize("residual_to", ["current", "initial"])
def test_every_choice_of_inputs_runs_and_trains(
    channels, extra_inputs, global_features, patch_size, residual_to
):
    if not global_features:  # the location would go there
        extra_inputs = tuple(extra for extra in extra_inputs if extra != "location")
    network = make_enhancer(
        "tiny",
        shape=(channels, 24, 16),
        patch_size=patch_size,
        extra_inputs=extra_inputs,
        residual_to=residual_to,
        global_features=global_features,
        zero_last_layer=False,
    )
    assert network.needs_initial_patch == ("initial_patch" in extra_inputs or residual_to == "initial")
    data = inputs(network.config, rows=3)
    if not network.needs_initial_patch:
        data = data._replace(initial_patch=None)
    enhanced = network(data)
    assert enhanced.shape == data.patch.shape
    enhanced.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


# --- what it sees -------------------------------------------------------------------------------------


def reached(network: LocalEnhancementNetwork, data: EnhancerInput, row: int, column: int) -> torch.Tensor:
    """Which pixels of the output notice a change of one pixel of the patch, bool (h, w)."""
    patch = data.patch.clone()
    patch[:, :, row, column] += 0.5
    with torch.no_grad():
        return (network(data._replace(patch=patch)) != network(data))[0].any(dim=0)


@pytest.mark.parametrize(("edge_kernel", "reach"), [(5, 21), (3, 19)])
@pytest.mark.parametrize(("row", "column"), [(30, 22), (0, 0), (50, 3)])
def test_a_pixel_reaches_exactly_the_window_of_the_stacked_kernels(edge_kernel, reach, row, column):
    """2 x (5 // 2) or 2 x (3 // 2), 5 x (7 // 2), and the last 5 // 2: the window is 43x43 or 39x39."""
    network = make_enhancer("tiny", edge_kernel=edge_kernel).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.convolutions.parameters():  # positive, so that no ReLU hides anything
        torch.nn.init.uniform_(parameter, 0.01, 0.05, generator=generator)
    data = inputs(network.config, rows=1, dtype=torch.float64)
    data = EnhancerInput(*(part if part is None else part.abs() for part in data))
    expected = torch.zeros(60, 45, dtype=torch.bool)
    expected[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    assert torch.equal(reached(network, data, row, column), expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_place_changes_the_output_where_the_preset_says_so(preset):
    network = awake(make_enhancer(preset, **SMALL)).eval()
    data = inputs(network.config, rows=1)
    with torch.no_grad():
        moved = network(data._replace(centre=-data.centre)) - network(data)
    assert bool(moved.any()) == (preset != "paper")


@pytest.mark.parametrize("extra", ["coordinates", "location"])
def test_each_of_the_two_ways_to_tell_the_place_does(extra):
    network = make_enhancer("tiny", **SMALL, extra_inputs=(extra,), zero_last_layer=False)
    awake(network)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
    data = inputs(network.config, rows=1)
    with torch.no_grad():
        assert not torch.equal(network(data._replace(centre=-data.centre)), network(data))


@pytest.mark.parametrize("patch_size", [(8, 6), (7, 5)])
def test_the_coordinate_channels_hold_the_place_of_every_pixel_in_the_picture(patch_size):
    geometry = PatchGeometry(24, 16, patch_size)
    network = make_enhancer(
        "tiny",
        shape=SMALL["shape"],
        patch_size=patch_size,
        extra_inputs=("coordinates",),
        global_features=0,
    )
    seen = []
    network.convolutions.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    location = torch.tensor([100, 0, 383])
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 16), indexing="ij"))
    window = geometry.window(location)
    expected = geometry.crop(geometry.to_canvas(grid.expand(3, -1, -1, -1)), window)
    network(inputs(network.config, rows=3)._replace(centre=geometry.centres(location)))
    inside = geometry.inside(window)
    torch.testing.assert_close(seen[0][:, 3:] * inside, expected, atol=1e-6, rtol=0)
    assert seen[0][1, 3:].min() < -1  # and goes on outside


def test_the_whole_picture_changes_the_patch_through_the_global_branch():
    data = inputs(EnhancerConfig(3, 24, 16, 8, 6))
    for features in (0, 64):
        network = awake(make_enhancer("tiny", **SMALL, global_features=features, extra_inputs=()))
        with torch.no_grad():
            same = torch.equal(network(data._replace(picture=-data.picture)), network(data))
        assert same == (features == 0)


def test_the_patch_of_the_first_picture_is_seen_where_asked_for():
    data = inputs(EnhancerConfig(3, 24, 16, 8, 6))
    network = awake(make_enhancer("tiny", **SMALL))
    with torch.no_grad():
        assert not torch.equal(network(data._replace(initial_patch=-data.initial_patch)), network(data))
    with pytest.raises(ValueError, match=r"give EnhancerInput\.initial_patch"):
        network(data._replace(initial_patch=None))
    plain = make_enhancer("paper", **SMALL)
    with torch.no_grad():
        assert torch.equal(plain(data._replace(initial_patch=None)), plain(data))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("residual_to", "part"), [("current", "patch"), ("initial", "initial_patch")])
def test_the_untrained_network_adds_nothing_where_its_last_layer_is_zero(preset, residual_to, part):
    network = make_enhancer(preset, **SMALL, residual_to=residual_to)
    data = inputs(network.config)
    with torch.no_grad():
        assert torch.equal(network(data), getattr(data, part)) == (preset != "paper")


@pytest.mark.parametrize(("residual_to", "part"), [("current", "patch"), ("initial", "initial_patch")])
def test_the_residual_is_added_and_squashed_only_if_asked(residual_to, part):
    data = inputs(EnhancerConfig(3, 24, 16, 8, 6))
    base = getattr(data, part)
    with torch.no_grad():
        squashed = make_enhancer("tiny", **SMALL, residual_to=residual_to, tanh_output=True)
        assert torch.equal(squashed(data), base.tanh())
    network = make_enhancer("tiny", **SMALL, residual_to=residual_to)
    with torch.no_grad():
        network.convolutions[-1].bias.fill_(3.0)
        torch.testing.assert_close(network(data), base + 3.0)  # not clamped
        network.config = EnhancerConfig(**{**asdict(network.config), "tanh_output": True})
        assert network(data).max() < 1


def test_the_papers_weights_start_as_the_authors_have_them():
    torch.manual_seed(0)
    network = make_enhancer("paper")
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        else:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.05), name
            assert abs(float(parameter.detach().mean())) < 0.002, name


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("patch", lambda x: x[:, :, :-1], "patches of shape"),
        ("picture", lambda x: x.transpose(2, 3), "pictures of shape"),
        ("picture", lambda x: x[:, :1], "pictures of shape"),
        ("initial_patch", lambda x: x[:, :1], "patches of I_0"),
    ],
)
def test_tensors_of_another_shape_are_refused(part, change, message):
    network = make_enhancer("tiny", **SMALL)
    data = inputs(network.config)
    with pytest.raises(ValueError, match=message):
        network(data._replace(**{part: change(getattr(data, part))}))


def test_the_identity_gives_the_patch_back():
    data = inputs(EnhancerConfig(3, 24, 16, 8, 6))
    assert torch.equal(IdentityEnhancer()(data), data.patch)
    assert not list(IdentityEnhancer().parameters())


# --- configurations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("channels", 4, "channels is 4"),
        ("height", 0, "height is 0"),
        ("width", 16.0, "width is 16.0"),
        ("patch_height", -8, "patch_height is -8"),
        ("patch_width", "6", "patch_width is '6'"),
        ("widths", (1, 2, 3), "widths is"),
        ("widths", (4, 8, 16, 0, 16, 8, 4), r"widths\[3\] is 0"),
        ("edge_kernel", 4, "edge_kernel is 4, but it must be odd"),
        ("inner_kernel", 0, "inner_kernel is 0"),
        ("global_features", -1, "global_features is -1"),
        ("extra_inputs", ("location", "age"), r"extra_inputs has \['age'\]"),
    ],
)
def test_impossible_configurations_are_refused_by_field(field, value, message):
    with pytest.raises(ValueError, match=message):
        EnhancerConfig(**{field: value})


def test_a_location_without_a_global_branch_is_refused():
    with pytest.raises(ValueError, match="global_features is 0"):
        EnhancerConfig(extra_inputs=("location",), global_features=0)


def test_unknown_presets_and_fields_are_refused_with_what_there_is():
    with pytest.raises(
        ValueError, match="no enhancer preset 'huge'; the presets are paper, full, half, tiny"
    ):
        make_enhancer("huge")
    with pytest.raises(ValueError, match="no field depth"):
        make_enhancer("tiny", depth=9)


# --- weights on disk ----------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A network with weights of its own, and its file."""
    network = awake(make_enhancer("tiny", **SMALL, edge_kernel=3)).eval()
    path = tmp_path / "enhancer.safetensors"
    network.save(path)
    return network, path


def rewrite(path, *, weights=lambda weights: weights, **metadata):
    """Write a file again with something changed; None drops an entry of the header."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    header = {key: value for key, value in (header | metadata).items() if value is not None}
    save_file(weights(load_file(path)), path, header)


def test_what_is_loaded_is_what_was_saved(saved):
    network, path = saved
    loaded = load_enhancer(path)
    assert loaded.config == network.config
    assert isinstance(loaded.config.widths, tuple)
    data = inputs(network.config)
    with torch.no_grad():
        assert torch.equal(loaded(data), network(data))
    assert load_enhancer(str(path)).config == network.config


def test_the_state_dict_holds_parameters_alone_under_their_names(saved):
    network, path = saved
    names = set(load_file(path))
    assert names == {name for name, _ in network.named_parameters()}
    branch = {f"global_map.{k}.{kind}" for k in (1, 3) for kind in ("weight", "bias")}
    assert names == branch | {
        "picture_features.weight",
        "picture_features.bias",
        *(f"convolutions.{2 * k}.{kind}" for k in range(8) for kind in ("weight", "bias")),
    }


def test_a_loaded_network_fits_the_core_it_was_made_for(saved):
    _, path = saved
    core = HallucinationCore(SMALL["shape"], 4, patch_size=SMALL["patch_size"], enhancer=load_enhancer(path))
    core.reset(torch.randint(0, 256, (1, *SMALL["shape"]), dtype=torch.uint8))
    core.step(torch.tensor([100]))
    assert not torch.equal(core.current, core.initial)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_read_as_single(saved, dtype):
    network, path = saved
    rewrite(path, weights=lambda weights: {name: tensor.to(dtype) for name, tensor in weights.items()})
    loaded = load_enhancer(path)
    for name, parameter in loaded.named_parameters():
        assert parameter.dtype == torch.float32
        expected = network.get_parameter(name).detach().to(dtype).float()
        assert torch.equal(parameter.detach(), expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved, value):
    _, path = saved

    def spoiled(weights):
        weights["convolutions.2.bias"][1] = value
        return weights

    rewrite(path, weights=spoiled)
    with pytest.raises(ValueError, match=r"enhancer\.safetensors is of no use: convolutions\.2\.bias in it"):
        load_enhancer(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no enhancer file .*nothing\.safetensors"):
        load_enhancer(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match="no enhancer file"):
        load_enhancer(tmp_path)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_file_that_is_cut_off_is_named(saved, length):
    _, path = saved
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"enhancer\.safetensors is no safetensors file, or it is cut off"):
        load_enhancer(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "facehall-policy"}, "holds 'facehall-policy', not a 'facehall-enhancer'"),
        ({"kind": None}, "holds 'unlabelled weights'"),
        ({"config": None}, "no configuration that fits this version"),
        ({"config": "{"}, "no configuration that fits this version"),
        ({"config": "[1, 2]"}, "no configuration that fits this version"),
        ({"config": json.dumps({"depth": 9})}, "no configuration that fits this version.*depth"),
        ({"config": json.dumps({"widths": [1, 2]})}, "no configuration that fits this version.*widths"),
        (
            {"config": json.dumps({"channels": 1})},
            r"convolutions\.0\.bias, convolutions\.0\.weight, convolutions\.10\.bias and 19 more",
        ),
    ],
    ids=str,
)
def test_a_file_that_holds_something_else_is_refused(saved, changes, message):
    _, path = saved
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message):
        load_enhancer(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {k: v for k, v in weights.items() if k != "convolutions.0.bias"},
        lambda weights: weights | {"convolutions.0.bias": torch.zeros(5)},
        lambda weights: {
            ("convolutions.0.bias0" if k == "convolutions.0.bias" else k): v for k, v in weights.items()
        },
    ],
    ids=["missing", "shape", "name"],
)
def test_weights_that_do_not_fit_their_configuration_are_named(saved, change):
    _, path = saved
    rewrite(path, weights=change)
    with pytest.raises(ValueError, match=r"do not belong to its configuration: convolutions\.0\.bias"):
        load_enhancer(path)
