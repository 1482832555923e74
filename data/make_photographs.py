r"""Gather photographs under free licences from packages of Debian and npm, for training.

    apt-get download plasma-workspace-wallpapers mate-backgrounds gnome-backgrounds \
        lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 gcompris-qt-data palapeli-data
    for package in *.deb; do dpkg -x $package unpacked; done
    dpkg -x odoo-19_*.deb unpacked/odoo-19
    npm pack tabler-ui@0.0.34 && mkdir -p unpacked/tabler-ui &&
        tar xzf tabler-ui-*.tgz -C unpacked/tabler-ui
    python data/make_photographs.py unpacked DIR/photographs

They are bright or dark on purpose, as their makers left them, so they show what is to come back as
it was: 58 wallpapers, and 132 pictures of animals, buildings, musicians and machines, by day and by
night, of GCompris 3.1 and of the puzzle Palapeli, all from bookworm; and those of
``photographs.txt``, of people, rooms, meals, offices, streets and landscapes, which says what
packages they are in: each is unpacked in a folder of its name, as odoo-19 and tabler-ui are above.
The short side comes to 640 pixels at most. The licences (CC0, CC BY, CC BY-SA, GFDL, GPL, LGPL,
MIT, public domain) are those of the packages: ``usr/share/doc/PACKAGE/copyright``, or ``LICENSE``
and ``package.json``. Those of npm are under the MIT licence as a whole (@tabler/preview names none
itself, tabler-ui of the same makers does) and do not say whose each photograph is: many may be of
sites of stock photographs with terms of their own. Nothing of them is part of the project.
"""

import io
import re
import sys
from collections.abc import Iterator
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

PUZZLES = (
    "castle-maintenon cincinnati-bridge citrus-fruits european-honey-bee panther-chameleon-female"
)
RESOURCES = {
    "erase": range(1, 34),
    "explore_farm_animals": range(1, 10),
    "explore_monuments": range(1, 50),
    "explore_world_animals": range(1, 17),
    "explore_world_music": range(1, 10),
    "details": (1, 3, 5, 6, 9, 11, 13, 14, 16, 17, 19),
}
"""Which pictures of each of GCompris 3.1's resource files are photographs, by their order."""
LISTED = Path(__file__).with_name("photographs.txt")
"""Photographs by their paths: a line that ends with a slash is the folder of the names below it."""
PICTURE = re.compile(rb"RIFF(.{4})WEBP|\xff\xd8\xff[\xe0\xe1\xdb]", re.DOTALL)
"""How a WebP, with its length, or a JPEG begins."""
LEAST_SIDE, LEAST_BYTES = 330, 9000
"""A smaller picture, or a WebP of fewer bytes, is a button or a drawing."""


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


def embedded(content: bytes) -> Iterator[Image.Image]:
    """Yield the WebP pictures in the bytes of a Qt resource file, then the JPEGs."""
    starts = sorted(PICTURE.finditer(content), key=lambda match: match[1] is None)
    for start in starts:
        length = int.from_bytes(start[1], "little") + 8 if start[1] else len(content)
        if length < LEAST_BYTES:
            continue
        try:
            opened = Image.open(io.BytesIO(content[start.start() : start.start() + length]))
            opened.load()
        except (OSError, SyntaxError, ValueError):
            continue  # The same bytes, by chance.
        if min(opened.size) >= LEAST_SIDE:
            yield opened


def listed() -> Iterator[str]:
    """Yield the path of each photograph of the list, in the folder of the unpacked packages."""
    folder = ""
    for line in LISTED.read_text("utf-8").splitlines():
        if line.endswith("/"):
            folder = line
        elif not line.startswith("#"):
            yield folder + line


def photographs(unpacked: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield the name and the picture of every photograph that is there.

    Args:
        unpacked: the folder that the packages were unpacked in.
    """
    for name, path in sources(unpacked).items():
        yield name, Image.open(path)
    share = unpacked / "usr" / "share"
    for path in (share / "palapeli" / "collection" / f"{name}.jpg" for name in PUZZLES.split()):
        if path.is_file():
            yield path.stem, Image.open(path)
    for name, chosen in RESOURCES.items():
        path = share / "gcompris-qt" / "rcc" / f"{name}.rcc"
        found = embedded(path.read_bytes()) if path.is_file() else ()
        yield from ((f"{name}_{n:03d}", p) for n, p in enumerate(found, start=1) if n in chosen)
    for number, path in enumerate(listed(), start=1):
        if (unpacked / path).is_file():
            yield f"listed_{number:03d}", Image.open(unpacked / path)


def main(unpacked: Path, target: Path) -> int:
    """Write the photographs; say how many of how many there are. Return 1 for none, else 0.

    Args:
        unpacked: folder of the unpacked packages.
        target: folder for the photographs.
    """
    if not unpacked.is_dir():
        sys.exit(f"{unpacked}: no folder of unpacked packages")
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, opened in photographs(unpacked):
        with opened:
            photo = opened.convert("RGB")
        factor = min(1.0, SHORT_SIDE / min(photo.size))
        size = tuple(round(side * factor) for side in photo.size)
        photo.resize(size, Image.Resampling.LANCZOS).save(target / f"{name}.png")
        count += 1
    wanted = len((PLASMA + OTHERS + PUZZLES).split()) + sum(map(len, RESOURCES.values()))
    wanted += len([*listed()])
    print(f"{count} of {wanted} photographs in {target}")
    return int(not count)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
