from media_runtime.terminal import show

IDS = {"asset": "asset", "company": "company", "key": "key", "why": "why"}


def test_no_id_is_cut_short_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    row = {"asset": "a" * 36, "company": "c" * 36, "key": "k" * 90, "why": "Long words " * 40}

    show([row], IDS, as_json=False)

    shown = capsys.readouterr().out
    assert all(row[name] in shown for name in ("asset", "company", "key"))
    assert "…" not in shown


def test_strangers_words_reach_the_terminal_without_harm(capsys):
    show([{"why": "[red]\x1b[2J"}], {"why": "why"}, as_json=False)

    assert "[red]\\x1b[2J" in capsys.readouterr().out
