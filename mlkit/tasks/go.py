"""Go: where a player plays next, of 19 × 19 points. Games that gnugo plays against itself, or SGF files of one's own."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .. import data, nn
from ..bench.page import Page
from ..data.sgf import BLACK, WHITE, Board, Game, Move
from ..errors import DataError
from ..file import write_whole
from ..kernels import Array
from ..train import metric, plot
from .input import Input
from .study import OWN, Examples, Origin, Result, Settings, Study, classifier, together

SIZE = 19
GAMES, OPENING, LONGEST = 40, 6, 200  # games that are played; moves of each that are drawn at random; moves at most
PLANES = 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"
COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # Go's names of points leave out I
NEEDS = "go needs gnugo: apt install gnugo; or --data DIR with SGF files of games on 19 × 19"


class Position(Input):
    """An SGF file as planes, (10, 19, 19), of the position after its last move, for whoever is to play."""

    kind = "position"
    suffixes = (".sgf",)
    field = "sgf"

    def rows(self, content: bytes, name: str) -> Array:
        game = data.read_sgf(content)
        if game.size != SIZE:
            raise DataError(f"{name} has a board of {game.size}; the network plays on {SIZE}")
        *_, (planes, _) = _positions(game._replace(moves=[*game.moves, Move(_turn(game), None)]), name)
        return planes[None]


def run(settings: Settings) -> Result:
    """Six convolutions, and one number for each point."""
    files = _own(settings) if settings.source else _played(settings)
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(files))
    cut = max(1, len(files) // 6)
    parts: list[tuple[Array, Array]] = []
    for chosen in (order[cut:], order[:cut]):
        found = [pair for number in sorted(chosen) for pair in _learned(files[number])]
        if not found:
            raise DataError(f"{len(files)} games are too few to learn from and to judge by; {NEEDS}")
        parts.append((np.stack([planes for planes, _ in found]), np.array([point for _, point in found])))
    (x, y), (x_test, y_test) = parts
    examples = Examples(
        data.Split(x, y, x_test, y_test), [name_of(point) for point in range(SIZE * SIZE)], Position(),
        OWN if settings.source else Origin("games of gnugo against itself", "GPL-3+"),
    )  # fmt: skip
    return classifier(
        GO, settings, examples, network, batch=64, lr=2e-3, transform=_turned,
        show=lambda page, model, logits, examples: _games(page, logits, examples, len(files)),
    )  # fmt: skip


def network(width: int = 48, layers: int = 5) -> nn.Sequential:
    """(N, 10, 19, 19) -> (N, 361)"""
    found: list[nn.Module] = []
    for before in (PLANES, *[width] * (layers - 1)):
        found += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*found, nn.Conv2d(width, 1, 1), nn.Flatten())


def planes_of(board: Board, colour: int, last: Iterable[Move]) -> Array:
    """(10, 19, 19): own and other stones by liberties (1, 2, more), the last two moves, ko, and ones, which show the edge."""
    stones, liberties = board.stones * colour, board.liberties()
    found = np.zeros((PLANES, SIZE, SIZE), np.float32)
    for plane, (side, fits) in enumerate(
        (side, fits) for side in (1, -1) for fits in (liberties == 1, liberties == 2, liberties > 2)
    ):
        found[plane] = (stones == side) & fits
    for plane, move in enumerate(last, 6):
        if move.point is not None:
            found[plane][move.point] = 1
    if board.ko is not None:
        found[8][board.ko] = 1
    found[9] = 1
    return found


def name_of(point: int) -> str:
    """As players call it: Q16."""
    return f"{COLUMNS[point % SIZE]}{SIZE - point // SIZE}"


def _positions(game: Game, name: str) -> Iterator[tuple[Array, Move]]:
    """What the board showed before each move, and the move."""
    board = Board(game.size)
    for move in game.setup:
        board.play(move)
    for number, move in enumerate(game.moves):
        yield planes_of(board, move.colour, reversed(game.moves[max(0, number - 2) : number])), move
        try:
            board.play(move)
        except DataError as error:
            raise DataError(f"{name}, move {number + 1}: {error}") from None


def _turn(game: Game) -> int:
    """Who is to play: black begins, but after handicap stones white."""
    return -game.moves[-1].colour if game.moves else WHITE if game.setup else BLACK


def _learned(path: Path) -> Iterator[tuple[Array, int]]:
    """The positions of a game and the point played in each; not the moves that were drawn at random, nor passes."""
    game = data.read_sgf(path)
    if game.size != SIZE:
        return
    skip = OPENING if path.name.startswith("gnugo-") else 0
    for number, (planes, move) in enumerate(_positions(game, str(path))):
        if number >= skip and move.point is not None:
            yield planes, move.point[0] * SIZE + move.point[1]


def _own(settings: Settings) -> list[Path]:
    whole = Path(str(settings.source))
    files = sorted(whole.rglob("*.sgf")) if whole.is_dir() else []
    if len(files) < 2:
        raise DataError(f"{whole} has {len(files)} SGF files; it takes two games at least, to learn from and to judge by")
    return files


def _played(settings: Settings) -> list[Path]:
    """Games that gnugo plays, several at a time; those that are there already are kept."""
    program = shutil.which("gnugo", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/games"]))
    if program is None:
        raise DataError(NEEDS)
    folder = settings.directory / "games"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}") from error
    files = [folder / f"gnugo-{settings.seed * 1000 + number:04d}.sgf" for number in range(GAMES)]
    together(lambda path: _play(program, path), files, settings.tell, f"playing games, gnugo against itself, into {folder}")
    return files


def _play(program: str, path: Path) -> None:
    if path.exists():
        return
    seed = int(path.stem.removeprefix("gnugo-"))
    rng = np.random.default_rng(seed)
    with subprocess.Popen(
        [program, "--mode", "gtp", "--level", "1", "--seed", str(seed + 1), "--chinese-rules"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip

        def ask(command: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(command + "\n")
            process.stdin.flush()
            answer = process.stdout.readline().strip()
            if not answer.startswith(("=", "?")) or process.stdout.readline().strip():
                raise DataError(f"gnugo answered {answer!r} to {command}")
            return answer.removeprefix("=").strip() if answer.startswith("=") else ""

        ask(f"boardsize {SIZE}")
        moves: list[str] = []
        while len(moves) < LONGEST and moves[-2:] != ["PASS", "PASS"]:
            colour = "black" if len(moves) % 2 == 0 else "white"
            if len(moves) < OPENING:
                move = name_of(int(rng.integers(2, SIZE - 2)) * SIZE + int(rng.integers(2, SIZE - 2)))
                if move in moves:
                    continue
                ask(f"play {colour} {move}")
            else:
                move = ask(f"genmove {colour}")
                if move.upper() in ("", "RESIGN"):
                    break
            moves.append(move.upper())
        ask("quit")
    write_whole(str(path), _as_sgf(moves))


def _as_sgf(moves: list[str]) -> str:
    nodes = []
    for number, move in enumerate(moves):
        column, row = (COLUMNS.find(move[0]), SIZE - int(move[1:])) if move != "PASS" else (19, 19)
        nodes.append(f";{'BW'[number % 2]}[{LETTERS[column]}{LETTERS[row]}]")
    return f"(;FF[4]GM[1]SZ[{SIZE}]PB[gnugo]PW[gnugo]\n{''.join(nodes)})\n"


def _turned(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The whole batch turned and mirrored in one of the eight ways that a board looks alike."""
    quarter, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    points = np.rot90(np.arange(SIZE * SIZE).reshape(SIZE, SIZE), quarter)
    turned = np.rot90(x, quarter, (2, 3))
    if mirrored:
        points, turned = points[:, ::-1], turned[..., ::-1]
    place = np.empty(SIZE * SIZE, np.int64)
    place[points.ravel()] = np.arange(SIZE * SIZE)
    return np.ascontiguousarray(turned), place[y]


def _games(page: Page, logits: Array, examples: Examples, count: int) -> None:
    """How much better than the moves' frequency, and what the network thinks of some positions."""
    split = examples.split
    counts = np.bincount(split.y_train, minlength=SIZE * SIZE)
    baseline = float(np.mean(split.y_test == counts.argmax()))
    free = np.where(split.x_test[:, :6].sum(1).reshape(-1, SIZE * SIZE) > 0, -np.inf, counts + 1e-9)
    better = float(np.mean(free.argmax(1) == split.y_test))
    top = metric.accuracy(logits, split.y_test)
    page.heading("Against the frequency of moves")
    page.table(
        [
            ("who says the next move", "right"),
            ("the point that is played most often", f"{baseline:.2%}"),
            ("the most frequent point that is still empty", f"{better:.2%}"),
            ("the network", f"{top:.2%}"),
            ("the network, in its first five", f"{metric.top_k(logits, split.y_test, 5):.2%}"),
        ],
        best=2,
    )
    page.text(f"{count} games; the positions of {len(split.y_test):,} moves are of games that were not learned from.", soft=True)
    page.heading("What it thinks")
    chosen = np.linspace(20, len(split.y_test) - 1, 8).astype(int)
    shown = [_picture(split.x_test[i], logits[i]) for i in chosen]
    titles = [f"{name_of(int(split.y_test[i]))} was played,\n{name_of(int(logits[i].argmax()))} found" for i in chosen]
    page.figure(
        plot.images(np.stack(shown), titles, columns=4),
        "Own stones are white, the other's black, empty points grey – brighter, the likelier the network thinks a move there.",
    )


def _picture(planes: Array, logits: Array) -> Array:
    shares = np.exp(logits - logits.max()).reshape(SIZE, SIZE)
    own, other = planes[:3].sum(0), planes[3:6].sum(0)
    found: Array = np.where(own > 0, 1.0, np.where(other > 0, 0.0, 0.35 + 0.4 * shares))
    return found


GO = Study("go", "The next move", 6, ("accuracy", 0.25), run, "a folder of SGF files, games on 19 × 19")
