from hypothesis import given
from hypothesis import strategies as st
from media_runtime.telemetry.terminal import printable, show

IDS = {"asset": "asset", "company": "company", "key": "key", "why": "why"}


def test_no_id_is_cut_short_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    row = {"asset": "a" * 36, "company": "c" * 36, "key": "k" * 90, "why": "Long words " * 40}

    show([row], IDS, as_json=False)

    shown = capsys.readouterr().out
    assert all(row[name] in shown for name in ("asset", "company", "key"))
    assert "…" not in shown


def test_cross_tenant_words_reach_the_terminal_without_harm(capsys):
    show([{"why": "[red]\x1b[2J"}], {"why": "why"}, as_json=False)

    assert "[red]\\x1b[2J" in capsys.readouterr().out


@given(st.text())
def test_what_strangers_wrote_cannot_act_on_a_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


def test_ordinary_text_is_shown_as_it_is():
    assert printable("Größe [type=missing] 日本 \\") == "Größe [type=missing] 日本 \\"
    assert printable("\x1b[2J\r\ud800\u202e") == r"\x1b[2J\r\ud800\u202e"
