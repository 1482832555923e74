r"""Gather photographs under free licences from Debian's wallpaper packages, for training.

    apt-get download plasma-workspace-wallpapers mate-backgrounds gnome-backgrounds \
        lomiri-wallpapers-16.04 lomiri-wallpapers-20.04
    for package in *.deb; do dpkg -x $package unpacked; done
    python data/make_photographs.py unpacked DIR/photographs

They are bright or dark on purpose, as their makers left them, so they show what is to come back as
it was. The short side comes to 640 pixels. The licences (CC0, CC BY, CC BY-SA, GPL, LGPL) are in
``unpacked/usr/share/doc/PACKAGE/copyright``. Nothing of them is part of the project.
"""

import sys
from pathlib import Path

from PIL import Image

SHORT_SIDE = 640
PLASMA = (
    "Altai Autumn BytheWater Canopee Cascade Cluster ColdRipple ColorfulCups DarkestHour Elarun "
    "EveningGlow FallenLeaf Flow FlyingKonqui Grey Honeywave IceCold Kite Kokkini MilkyWay "
    "OneStandsOut Opal PastelHills Patak Path SafeLanding Shell Volna summer_1am "
)
OTHERS = (
    "Aqua Blinds Bridge_by Dragonfly_by Dune Fossa_by FreshFlower Garden GreenMeadow Kleiber_by "
    "LadyBird Picture_0B Picture_1A RainDrops Storm TwoWings Wine_by Wood YellowFlower "
    "aitzgorri_by free_by friends_by greentock_by life_by picosdeeuropa_by seeding_by "
    "sunset_by wood-d wood-l "
)


def largest(files: list[Path]) -> Path:
    """Return the largest file."""
    return max(files, key=lambda path: path.stat().st_size)


def sources(unpacked: Path) -> dict[str, Path]:
    """Return the file of every photograph that is there, by name.

    Args:
        unpacked: the folder that the packages were unpacked in.
    """
    share, found = unpacked / "usr" / "share", {}
    for name in PLASMA.split():
        files = [*(share / "wallpapers" / name / "contents" / "images").glob("*.*")]
        found |= {name: largest(files)} if files else {}
    for name in OTHERS.split():
        files = [*(share / "backgrounds").rglob(f"{name}*.*")]
        found |= {name: largest(files)} if files else {}
    return found


def main(unpacked: Path, target: Path) -> None:
    """Write the photographs, and say how many of how many there are.

    Args:
        unpacked: folder of the unpacked packages.
        target: folder for the photographs.
    """
    target.mkdir(parents=True, exist_ok=True)
    found = sources(unpacked)
    for name, path in found.items():
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        factor = min(1.0, SHORT_SIDE / min(photo.size))
        size = tuple(round(side * factor) for side in photo.size)
        photo.resize(size, Image.Resampling.LANCZOS).save(target / f"{name}.png")
    print(f"{len(found)} of {len((PLASMA + OTHERS).split())} photographs in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
