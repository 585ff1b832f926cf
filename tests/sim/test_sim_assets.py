"""The files made once per machine: light meshes of the Panda, the scene's shapes, textures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim import DOMAINS
from sim.assets import _recipe, assets_directory, cache_directory, scene_meshes
from sim.meshes import read_parts, write_parts
from sim.textures import KINDS, make_texture, texture_names

ROOT = Path(__file__).parents[2]
MAKE = "from sim.assets import assets_directory; print(assets_directory())"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("TWIST_CACHE", raising=False)
    assert cache_directory() == tmp_path / "home" / ".cache" / "twist"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "twist"
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "named"))
    assert cache_directory() == tmp_path / "named"


def test_assets_are_made_once_with_one_line_of_progress(empty_cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = assets_directory()
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1
    assert str(first) in captured.err
    assert captured.out == ""
    assert assets_directory() == first
    assert capfd.readouterr().err == ""
    assert [path.name for path in empty_cache.iterdir()] == [first.name]


def test_another_mesh_material_or_version_of_what_makes_them_gives_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in ("panda.urdf", "meshes/visual/link1.obj", "meshes/visual/link1.mtl")]
    files[1].parent.mkdir(parents=True)
    for file in files:
        file.write_text("as it was")

    def recipe() -> str:
        _recipe.cache_clear()
        return _recipe(tmp_path)

    found = [recipe()]
    assert recipe() == found[0]
    for file in files:
        file.write_text("otherwise")
        found.append(recipe())
    for version in ("fast_simplification.__version__", "scipy.__version__"):
        monkeypatch.setattr(version, "0.0.1")
        found.append(recipe())
    _recipe.cache_clear()
    assert len(set(found)) == len(found)


def test_processes_that_make_assets_at_once_do_not_disturb_each_other(empty_cache: Path) -> None:
    makers = [
        subprocess.Popen([sys.executable, "-c", MAKE], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {maker.communicate(timeout=60)[0].strip() for maker in makers}
    assert [maker.returncode for maker in makers] == [0, 0, 0]
    (directory,) = (Path(line) for line in printed)
    assert (directory / "panda.urdf").is_file()
    assert [path.name for path in empty_cache.iterdir()] == [directory.name], "no half-made directory is left"


def test_a_cache_that_cannot_be_written_is_reported_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="set TWIST_CACHE to another directory"):
        assets_directory()


def test_the_description_names_meshes_that_are_there_and_no_stock_ones() -> None:
    directory = assets_directory()
    description = (directory / "panda.urdf").read_text()
    assert "package://" not in description
    named = {line.split('"')[1] for line in description.splitlines() if "<mesh" in line}
    casters = {name.replace(".obj", "_shadow.obj") for name in named}
    assert named | casters == {path.name for path in directory.glob("*.obj")}


@pytest.mark.parametrize("name", ["ball", "cube", "disc"])
def test_shapes_face_outwards(name: str) -> None:
    mesh = scene_meshes()[name]
    first, second, third = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    faces = np.cross(second - first, third - first)
    turned = np.einsum("ij,ij->i", faces, mesh.normals[mesh.triangles[:, 0]])
    assert (turned > -1e-12).all()
    assert mesh.triangles.min() == 0
    assert mesh.triangles.max() == len(mesh.vertices) - 1


def test_parts_read_back_as_they_were_written(tmp_path: Path) -> None:
    parts = {"white": scene_meshes()["cube"], "black": scene_meshes()["ball"]}
    write_parts(tmp_path / "thing.obj", parts)
    read = read_parts(tmp_path / "thing.obj")
    assert list(read) == ["white", "black"]
    for name, mesh in parts.items():
        assert read[name].vertices == pytest.approx(mesh.vertices, abs=1e-5)
        assert read[name].normals == pytest.approx(mesh.normals, abs=1e-4)
        assert read[name].texture_coordinates == pytest.approx(mesh.texture_coordinates, abs=1e-4)
        assert np.array_equal(read[name].triangles, mesh.triangles)


def test_textures_have_contrast_differ_and_are_always_the_same() -> None:
    names = [name for kind in KINDS for domain in DOMAINS for name in texture_names(kind, domain)]
    assert len(names) == len(set(names)) > 60
    textures = {name: make_texture(name) for name in names}
    for name, texture in textures.items():
        edge = len(texture)
        assert texture.shape == (edge, edge, 3)
        assert texture.std() > 4
        assert np.array_equal(texture, make_texture(name))
    assert len({texture.tobytes() for texture in textures.values()}) == len(names)


@pytest.mark.parametrize("kind", ["pattern", "cloth"])
def test_what_a_colour_multiplies_is_grey(kind: str) -> None:
    for domain in DOMAINS:
        for name in texture_names(kind, domain):
            texture = make_texture(name)
            assert texture.max() > 200
            assert (texture == texture[..., :1]).all()
