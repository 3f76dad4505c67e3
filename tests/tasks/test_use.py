"""A model in use: what it says of files, lines and requests; its card; whether it can be made again."""

import http.client
import io as streams
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mlkit import io, manual_seed, models, nn
from mlkit.errors import ArgumentError, DataError
from mlkit.io.card import card, grade
from mlkit.tasks import Predictor, Server, go, rebuild, spam, speech, text
from tests.data.test_reader import GAME, tone, wav

MAIL = b"From: a@b.example\nSubject: =?utf-8?q?Buy_caf=C3=A9?=\nContent-Type: text/plain\n\nBuy it now, it is FREE $$$!\n"


def saved(tmp_path, model, preprocessing, answer, **rest):
    path = os.fspath(tmp_path / "model.safetensors")
    io.save(model, path, preprocessing=preprocessing, answer=answer, **rest)
    return path


def classes(*names):
    return {"kind": "classes", "classes": list(names)}


def digits(tmp_path):
    manual_seed(0)
    return saved(tmp_path, models.MLP([4, 3]), {"kind": "numbers", "shape": [4], "scale": 2}, classes("a", "b", "c"))


def test_rows_are_scaled_and_told_apart_as_the_network_does(tmp_path):
    predictor = Predictor(digits(tmp_path))
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(str, row)) for row in x.tolist()))
    [(_, answers)] = predictor.files(os.fspath(tmp_path / "x.csv"))
    logits = np.asarray(predictor.model(x / 2))
    assert [answer["class"] for answer in answers] == ["abc"[i] for i in logits.argmax(1)]
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert answers[0]["classes"] == pytest.approx(dict(zip("abc", shares)), abs=1e-4)
    np.save(tmp_path / "x.npy", x)
    assert predictor.answers(predictor.input.rows((tmp_path / "x.npy").read_bytes(), "x")) == answers
    assert predictor.answers(predictor.input.parsed({"rows": x.tolist()})) == answers


def test_a_model_that_was_saved_with_classes_alone_is_used_as_well(tmp_path):
    io.save(models.MLP([4, 2]), tmp_path / "m", classes=["x", "y"])
    predictor = Predictor(os.fspath(tmp_path / "m"))
    assert predictor.answers(predictor.input.rows(b"1,2,3,4", "x"))[0]["class"] in ("x", "y")


def test_the_words_of_a_mail_are_its_subject_and_texts(tmp_path):
    assert spam.words(MAIL)[:3] == ["subject:buy", "subject:caf", "buy"]
    assert "example" not in spam.words(MAIL)
    assert len(set(spam.words(MAIL))) == len(spam.words(MAIL))
    path = saved(tmp_path, models.BagOfWords(100, 2, 4), {"kind": "mail", "words": 100, "length": 20}, classes("wanted", "spam"))
    predictor = Predictor(path)
    row = predictor.input.rows(MAIL, "mail")
    assert row.shape == (1, 20)
    assert 0 < row.max() < 100
    assert predictor.answers(row)[0]["class"] in ("wanted", "spam")
    assert (predictor.input.parsed({"text": MAIL.decode()}) == row).all()
    with pytest.raises(DataError, match="no words"):
        predictor.input.rows(b"\n\n", "mail")


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_mail_that_is_encoded_has_the_same_words(encoding):
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["Subject"] = "hello"
    mail.set_content("<p>Cheap pills, café</p>", subtype="html", charset="latin-1", cte=encoding)
    assert {"subject:hello", "cheap", "pills"} <= set(spam.words(mail.as_bytes()))


def test_a_sound_is_the_same_wherever_it_lies_and_however_loud_it_is(tmp_path):
    path = saved(tmp_path, speech.network(2), {"kind": "sound", "rate": 16000, "mels": 40, "frames": 96}, classes("yes", "no"))
    predictor = Predictor(path)
    word, quiet = (tone(500, 0.3) * np.hanning(4800) * 20000).astype("i2"), np.zeros(8000, "i2")
    early, late = (predictor.input.rows(wav(np.concatenate(parts)), "x") for parts in ((word, quiet), (quiet, word // 2, quiet)))
    assert early.shape == (1, 1, 40, 96)
    assert np.corrcoef(early[..., 25:70].ravel(), late[..., 25:70].ravel())[0, 1] > 0.95
    assert predictor.answers(early)[0]["class"] in ("yes", "no")
    with pytest.raises(DataError, match="silent"):
        predictor.input.rows(wav(quiet), "x")


def test_a_game_is_its_last_position_for_who_is_to_play(tmp_path):
    names = [go.name_of(point) for point in range(361)]
    predictor = Predictor(saved(tmp_path, go.network(4, 2), {"kind": "position"}, classes(*names)))
    rows = predictor.input.rows(b"(;SZ[19];B[dd];W[pp];B[dp])", "game")
    assert rows.shape == (1, 10, 19, 19)
    assert rows[0, 2].sum() + rows[0, 1].sum() + rows[0, 0].sum() == 1  # white is to play, and has one stone
    assert rows[0, 3:6, 3, 3].sum() == rows[0, 3:6, 15, 3].sum() == 1
    assert rows[0, 6, 15, 3] == rows[0, 7, 15, 15] == 1
    assert predictor.answers(rows)[0]["class"] in names
    assert predictor.input.parsed({"sgf": "(;SZ[19])"})[0, :6].sum() == 0
    with pytest.raises(DataError, match="board of 9"):
        predictor.input.rows(GAME, "game")


def test_the_names_of_points_are_those_of_the_board():
    assert go.name_of(0) == "A19"
    assert go.name_of(360) == "T1"
    assert go.name_of(3 * 19 + 15) == "Q16"


def test_a_turned_board_has_its_move_where_it_was():
    rng = np.random.default_rng(0)
    y = np.array([5, 100, 360])
    x = np.zeros((3, 10, 19, 19), np.float32)
    x[np.arange(3), 0, y // 19, y % 19] = 1
    for _ in range(16):
        turned, place = go._turned(x, y, rng)
        assert (turned[np.arange(3), 0, place // 19, place % 19] == 1).all()


def test_a_text_goes_on(tmp_path):
    manual_seed(0)
    path = saved(tmp_path, models.GPT(5, 8, 1, 1, 8), {"kind": "prompt", "characters": "abcd\n"}, {"kind": "text"})
    predictor = Predictor(path)
    [answer] = predictor.answers(predictor.input.rows(b"abba, ade", "x"))
    assert len(answer["text"]) == 400
    assert set(answer["text"]) <= set("abcd\n")
    with pytest.raises(DataError, match="no character"):
        predictor.input.rows(b"XYZ", "x")


def test_windows_of_a_text_are_followed_by_what_follows():
    x, y = text.windows(np.arange(200), np.array([0, 100]))
    assert x.shape == y.shape == (2, 64)
    assert (y == x + 1).all()


def test_a_picture_on_light_ground_is_inverted(tmp_path):
    image = pytest.importorskip("PIL.Image")
    preprocessing = {"kind": "pictures", "shape": [1, 28, 28], "scale": 255, "ground": 0}
    path = saved(tmp_path, nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), preprocessing, classes("x", "y"))
    pixels = np.full((56, 56), 255, np.uint8)
    pixels[20:30, 20:30] = 0
    for name, shown in (("light", pixels), ("dark", 255 - pixels)):
        image.fromarray(shown).save(tmp_path / f"{name}.png")
    predictor = Predictor(path)
    light, dark = (predictor.input.rows((tmp_path / f"{name}.png").read_bytes(), name) for name in ("light", "dark"))
    assert np.abs(light - dark).max() < 1e-6
    assert dark[0, 0, 12, 12] == 1
    (tmp_path / "folder").mkdir()
    (tmp_path / "light.png").rename(tmp_path / "folder" / "light.png")
    assert [name for name, _ in predictor.files(os.fspath(tmp_path / "folder"))] == [os.fspath(tmp_path / "folder" / "light.png")]
    assert len(predictor.input.rows(",".join(["7"] * 784).encode(), "csv")) == 1


def test_boxes_and_codes_are_answers_too(tmp_path):
    manual_seed(0)
    answer = {"kind": "boxes", "classes": list("abc"), "threshold": 0.0}
    predictor = Predictor(
        saved(tmp_path, models.Detector(3, width=4), {"kind": "pictures", "shape": [1, 16, 16], "scale": 1}, answer)
    )
    [found] = predictor.answers(np.zeros((1, 1, 16, 16), np.float32))
    assert found["found"]
    assert len(found["found"][0]["box"]) == 4
    predictor = Predictor(saved(tmp_path, models.VAE(16, 8, 2), {"kind": "numbers", "shape": [16], "scale": 1}, {"kind": "code"}))
    [found] = predictor.answers(np.zeros((1, 16), np.float32))
    assert len(found["code"]) == 2
    assert 0 < found["error"] < 1


@pytest.mark.parametrize(
    ("preprocessing", "answer"),
    [
        ("text", classes("a")),
        ({"kind": "magic"}, classes("a")),
        ({"kind": ["numbers"]}, classes("a")),
        ({"kind": "numbers"}, {"kind": {}}),
        ({"kind": "numbers", "shape": [-1]}, classes("a")),
        ({"kind": "numbers", "shape": [1 << 40]}, classes("a")),
        ({"kind": "numbers", "shape": [4], "scale": 0}, classes("a")),
        ({"kind": "mail", "words": 1 << 60, "length": 3}, classes("a")),
        ({"kind": "numbers", "shape": [4]}, {"kind": "spell"}),
        ({"kind": "numbers", "shape": [4]}, classes("a")),
        ({"kind": "numbers", "shape": [4]}, {"kind": "classes"}),
        ({"kind": "numbers", "shape": [4]}, {"kind": "text"}),
        ({"kind": "numbers", "shape": [4]}, {"kind": "boxes", "classes": [], "threshold": 1}),
        ({"kind": "mail"}, classes("a")),
    ],
)
def test_a_description_that_fits_nothing_is_one_error(preprocessing, answer, tmp_path):
    path = saved(tmp_path, models.MLP([4, 3]), preprocessing, answer)
    (tmp_path / "x").write_bytes(b"1,2,3,4")
    with pytest.raises(DataError):
        list(Predictor(path).files(os.fspath(tmp_path / "x")))


def loopback():
    """Whether this machine can talk to itself: in a build without a network it may not."""
    with socket.socket() as here, socket.socket() as there:
        try:
            here.bind(("127.0.0.1", 0))
            here.listen()
            there.connect(here.getsockname())
        except OSError:
            return False
    return True


needs_loopback = pytest.mark.skipif(not loopback(), reason="there is no loopback interface")


@pytest.fixture
def server(tmp_path):
    if not loopback():
        pytest.skip("there is no loopback interface")
    found = Server(Predictor(digits(tmp_path)), port=0, largest=1000, most=2)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.close()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if "json" in answer.headers["Content-Type"] else content.decode()


JSON = {"Content-Type": "application/json"}


def test_the_server_answers_as_the_model_does(server):
    status, found = ask(server, "POST", "/predict", json.dumps({"rows": [[1, 2, 3, 4], [0, 0, 0, 0]]}), **JSON)
    assert status == 200
    expected = server.predictor.answers(server.predictor.input.parsed({"rows": [[1, 2, 3, 4], [0, 0, 0, 0]]}))
    assert found == {"answers": expected}
    assert ask(server, "POST", "/predict", b"1,2,3,4\n0,0,0,0\n") == (200, found)
    assert ask(server, "GET", "/health") == (200, {"status": "ok"})
    assert ask(server, "GET", "/model")[1]["answer"]["classes"] == ["a", "b", "c"]
    numbers = ask(server, "GET", "/statistics")[1]
    assert numbers["answered"] == 2
    assert 0 < numbers["p50_ms"] <= numbers["p99_ms"]
    assert "<h1>" in ask(server, "GET", "/")[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/predict", b"{", JSON, 400),
        ("POST", "/predict", b"[]", JSON, 400),
        ("POST", "/predict", b"[" * 900, JSON, 400),
        ("POST", "/predict", b'{"rows": "x"}', JSON, 400),
        ("POST", "/predict", b'{"rows": [[1], [1, 2]]}', JSON, 400),
        ("POST", "/predict", b'{"rows": [[1, 2, 3, NaN]]}', JSON, 400),
        ("POST", "/predict", b'{"rows": []}', JSON, 400),
        ("POST", "/predict", b"\xff\xfe", {}, 400),
        ("POST", "/predict", b"1,2,3", {}, 400),
        ("POST", "/predict", b"1" * 1001, {}, 413),
        ("POST", "/predict", None, {"Content-Length": "-5"}, 411),
        ("POST", "/other", b"1,2,3,4", {}, 404),
        ("GET", "/etc/passwd", None, {}, 404),
        ("GET", "/health", None, {"Host": "evil.example"}, 403),
        ("DELETE", "/predict", None, {}, 501),
    ],
)
def test_a_wrong_request_is_told_so_and_the_server_goes_on(server, method, path, body, headers, status):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    assert connection.getresponse().status == status
    connection.close()
    assert ask(server, "GET", "/health")[0] == 200


def test_more_requests_than_are_allowed_come_again_later(server):
    held = [socket.create_connection(server.server_address) for _ in range(2)]
    for connection in held:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n1,2")
    until = time.monotonic() + 10
    while server._free._value and time.monotonic() < until:
        time.sleep(0.01)
    assert ask(server, "POST", "/predict", b"1,2,3,4")[0] == 503
    for connection in held:
        connection.sendall(b",3,4")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()


def test_two_servers_cannot_have_one_port(server):
    with pytest.raises(ArgumentError, match="cannot be listened at"):
        Server(server.predictor, "256.0.0.1", 1)
    with pytest.raises(ArgumentError, match="from 1"):
        Server(server.predictor, largest=0)


@needs_loopback
def test_the_command_serves_until_it_is_told_to_end(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "mlkit", "serve", digits(tmp_path), "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
        watch = threading.Timer(20, process.kill)  # whatever fails below
        watch.daemon = True
        watch.start()
        idle = socket.create_connection(("127.0.0.1", port))  # who says nothing does not hold it up
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/predict", b"1,2,3,4")
            assert connection.getresponse().status == 200
            connection.close()
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=8)[0]
        idle.close()
    assert process.returncode == 0
    assert "3 requests answered, half of them within" in rest


DESCRIPTION = {
    "task": "digits", "mlkit": "0", "command": "mlkit train digits", "scores": {"accuracy": 0.97},
    "data": {"source": "somewhere", "licence": "CC0-1.0", "examples": 3, "sha256": "0"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC0-1.0", "Free"),
        ("Expat", "Free"),
        ("CC-BY-NC-4.0", "Non-free"),
        ("CC-BY-ND-4.0", "Non-free"),
        ("proprietary", "Non-free"),
        ("non-free", "Non-free"),
        ("unknown", "ToxicCandy"),
        ("MyOwn-1.0", "ToxicCandy"),
    ],
)
def test_the_grade_follows_from_the_licence(licence, expected):
    assert grade({**DESCRIPTION, "data": {"licence": licence}}) == expected


def test_a_model_that_nobody_can_train_again_is_not_free():
    assert grade({"data": {"licence": "CC0-1.0"}}) == "ToxicCandy"
    assert grade({}) == "ToxicCandy"


def test_a_card_says_what_is_known_and_nothing_else():
    found = card(DESCRIPTION, 17226)
    for words in ("# digits", "17,226 parameters", "somewhere; licence: CC0-1.0", "- accuracy: 0.97", "## Grade: Free", "Seed ?"):
        assert words in found
    assert "parameters" in card({}, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pytest.importorskip("matplotlib")
    from mlkit.tasks import STUDIES, Settings, save

    path = os.fspath(tmp_path_factory.mktemp("made") / "digits.safetensors")
    save(STUDIES["digits"].run(Settings(2, seed=3, threads=1)), path)
    return path


def test_a_model_that_is_trained_again_has_the_same_bits(trained):
    found = rebuild(trained)
    assert found.verdict == "same bits"
    assert not found.differences
    assert found.before == found.after


def changed(path, tmp_path, **values):
    """The same file with other words in its description."""
    tensors, metadata = io.load_tensors(path)
    described = {**json.loads(metadata["mlkit"]), **values}
    io.save_tensors(tensors, tmp_path / "changed", {"mlkit": json.dumps(described)})
    return tmp_path / "changed"


def test_another_seed_makes_another_model(trained, tmp_path):
    found = rebuild(changed(trained, tmp_path, seed=4))
    assert found.verdict in ("within tolerance", "different")
    assert found.distance > 0.1
    assert rebuild(changed(trained, tmp_path, seed=4, scores={"accuracy": 0.1})).verdict == "different"


def test_what_was_otherwise_is_named(trained, tmp_path):
    description = io.read_description(trained)
    found = rebuild(changed(trained, tmp_path, data={**description["data"], "sha256": "other"}, numpy="0.1"))
    assert found.verdict == "same bits"
    assert any(line.startswith("data sha256: other then") for line in found.differences)
    assert any(line.startswith("numpy: 0.1 then") for line in found.differences)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task": "nothing"}, "how it was made"),
        ({"epochs": -1}, "how it was made"),
        ({"epochs": "x"}, "how it was made"),
        ({"library": []}, "how it was made"),
        ({"trained": 1}, "ended after 1 of 2"),
        ({"command": "mlkit train digits --data DATA"}, "--data"),
    ],
)
def test_what_cannot_be_repeated_is_named(trained, tmp_path, values, words):
    with pytest.raises(DataError, match=words):
        rebuild(changed(trained, tmp_path, **values))


def test_standard_input_is_one_mail(tmp_path):
    path = saved(tmp_path, models.BagOfWords(100, 2, 4), {"kind": "mail", "words": 100, "length": 20}, classes("wanted", "spam"))
    predictor = Predictor(path)
    file = streams.TextIOWrapper(streams.BytesIO(MAIL))
    assert [rows.shape for _, rows in predictor.input.stream(file, "-")] == [(1, 20)]
