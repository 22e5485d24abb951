import stat
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from aicmo_dagster.errors import AicmoError, BadInput
from aicmo_dagster.settings import (
    SECRETS,
    Dkim,
    Settings,
    has_mailbox,
    host_name,
    load_settings,
)
from aicmo_dagster_tests.forked import processes

OURS = [
    *("AICMO_HOME", "AICMO_DATABASE_URL", "AICMO_SMTP_URL", "AICMO_PUBLIC_URL"),
    *(
        "AICMO_SECRET_KEY",
        "AICMO_INBOUND_URL",
        "DAGSTER_HOME",
        "AICMO_APOLLO_API_KEY",
        "AICMO_APOLLO_URL",
    ),
    *("AICMO_DROPCONTACT_API_KEY", "AICMO_DROPCONTACT_URL"),
    *("AICMO_APOLLO_AT_ONCE", "AICMO_DROPCONTACT_AT_ONCE"),
    *("AICMO_DKIM_DOMAIN", "AICMO_DKIM_SELECTOR", "AICMO_DKIM_KEY_FILE"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with none of our variables set."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_word_everything_is_in_a_folder_beneath_the_working_folder(folder: Path) -> None:
    settings = load_settings()

    assert settings.home == folder / ".aicmo"
    assert settings.database_url == f"sqlite:///{folder}/.aicmo/aicmo.db"
    assert settings.dagster_home == folder / ".aicmo" / "dagster"
    assert settings.outbox == folder / ".aicmo" / "outbox"
    assert settings.smtp_url is None
    assert settings.public_url == "http://127.0.0.1:8000"


def test_the_home_is_made_and_is_nobody_else_s(folder: Path) -> None:
    home = load_settings({"AICMO_HOME": str(folder / "a" / "b")}).home

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert list(home.iterdir()) == []


def test_what_the_environment_says_holds(folder: Path) -> None:
    settings = load_settings(
        {
            "AICMO_HOME": "state",
            "AICMO_DATABASE_URL": "postgresql://db.example/aicmo",
            "AICMO_SMTP_URL": "smtp://mail.example",
            "AICMO_PUBLIC_URL": "https://mail.acme.example/",
            "DAGSTER_HOME": "dagster",
        }
    )

    assert settings == Settings(
        home=folder / "state",
        database_url="postgresql://db.example/aicmo",
        dagster_home=folder / "dagster",
        smtp_url="smtp://mail.example",
        public_url="https://mail.acme.example",
    )


def test_the_file_env_is_honoured(folder: Path) -> None:
    Path(".env").write_text(
        '# ours\nexport AICMO_HOME="my state"\nAICMO_SMTP_URL=smtp://a.example\n'
    )
    settings = load_settings()

    assert settings.home == folder / "my state"
    assert settings.smtp_url == "smtp://a.example"


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("AICMO_HOME=file\nAICMO_PUBLIC_URL=https://file.example\n")
    monkeypatch.setenv("AICMO_HOME", "process")
    settings = load_settings()

    assert settings.home == folder / "process"
    assert settings.public_url == "https://file.example"


@pytest.mark.parametrize("text", ["AICMO_HOME=\n", "AICMO_HOME\n", "", "= ="])
def test_a_variable_without_a_value_is_not_set(folder: Path, text: str) -> None:
    Path(".env").write_text(text)

    assert load_settings().home == folder / ".aicmo"


def test_a_file_env_that_is_no_text_is_refused_and_named(folder: Path) -> None:
    (folder / ".env").write_bytes(b"AICMO_HOME=bl\xe5b\xe6r\n")

    with pytest.raises(BadInput, match=r"^\.env: found bytes that are not UTF-8"):
        load_settings()


@pytest.mark.parametrize("below", ["file", "file/home", "file/a/b"])
def test_a_home_that_cannot_be_written_says_what_to_do(folder: Path, below: str) -> None:
    (folder / "file").touch()

    with pytest.raises(AicmoError) as refused:
        load_settings({"AICMO_HOME": below})

    assert str(folder / below) in str(refused.value)
    assert str(refused.value).endswith("set AICMO_HOME to a folder that is")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 1


def test_many_threads_may_load_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_settings({"AICMO_HOME": "home"}), range(64)))

    assert len(set(found)) == 1


def settings_in(home: Path) -> Settings:
    return load_settings({"AICMO_HOME": str(home)})


def test_the_secret_key_is_made_once_and_kept_to_oneself(folder: Path) -> None:
    key = settings_in(folder).secret_key()
    path = folder / "secret_key"

    assert len(key) == 64
    assert settings_in(folder).secret_key() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [path]


def test_every_home_has_a_secret_key_of_its_own(folder: Path) -> None:
    assert settings_in(folder / "a").secret_key() != settings_in(folder / "b").secret_key()


def test_a_secret_key_that_is_set_is_used_and_none_is_made(folder: Path) -> None:
    settings = load_settings({"AICMO_HOME": "home", "AICMO_SECRET_KEY": "nøkkel"})

    assert settings.secret_key() == "nøkkel".encode()
    assert not (settings.home / "secret_key").exists()


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_secret_key_is_no_key(folder: Path, content: str) -> None:
    """A full disk may leave one; what is signed with it anyone could sign."""
    settings = settings_in(folder)
    (folder / "secret_key").write_text(content)

    with pytest.raises(AicmoError, match="restore it from a backup"):
        settings.secret_key()


def test_a_draft_that_a_crash_left_behind_is_in_nobody_s_way(folder: Path) -> None:
    """In a container the process id is the same after every start."""
    settings = settings_in(folder)
    for number in range(1, 5):
        (folder / f"secret_key.{number}").touch()

    assert settings.secret_key()


def secret_key_of(home: Path) -> bytes:
    return settings_in(home).secret_key()


def test_processes_that_race_for_the_secret_key_end_with_one(folder: Path) -> None:
    homes = [folder / str(number) for number in range(8)]
    with ProcessPoolExecutor(4, mp_context=processes()) as pool:
        keys = [list(pool.map(secret_key_of, [home] * 8)) for home in homes]

    assert [len(set(found)) for found in keys] == [1] * len(homes)
    assert all(stat.S_IMODE((home / "secret_key").stat().st_mode) == 0o600 for home in homes)


def test_threads_that_race_for_the_secret_key_end_with_one(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(secret_key_of, [folder / "home"] * 32))

    assert len(set(keys)) == 1


def test_a_child_process_sees_the_same_settings_wherever_it_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text(
        "AICMO_SMTP_URL=smtp://a.example\nAICMO_SECRET_KEY=s3cret\nAICMO_PUBLIC_URL=https://a.example\n"
    )
    settings = load_settings()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")

    assert load_settings(settings.process_environment()) == settings


def test_what_is_not_set_is_hidden_from_a_child(folder: Path) -> None:
    handed_on = settings_in(folder).process_environment()
    assert load_settings({"AICMO_SMTP_URL": "smtp://mail.example", **handed_on}).smtp_url is None


def test_no_secret_shows_in_the_text_of_the_settings(folder: Path) -> None:
    names = ("AICMO_SMTP_URL", "AICMO_SECRET_KEY", "AICMO_APOLLO_API_KEY")
    settings = load_settings({"AICMO_HOME": "x", **dict.fromkeys(names, "secret-x")})
    assert settings.apollo.api_key == "secret-x"
    assert "secret-x" not in repr(settings)


def test_dkim_is_set_in_whole_or_not_at_all(folder: Path) -> None:
    given = {
        "AICMO_DKIM_DOMAIN": "acme.example",
        "AICMO_DKIM_SELECTOR": "spring",
        "AICMO_DKIM_KEY_FILE": "dkim.pem",
    }
    assert load_settings({}).dkim is None
    settings = load_settings(given)
    assert settings.dkim == Dkim("acme.example", "spring", folder / "dkim.pem")
    assert load_settings(settings.process_environment()) == settings
    for missing in given:
        some = {name: value for name, value in given.items() if name != missing}
        with pytest.raises(BadInput, match=f"^{missing}: found nothing beside .*; expected all of"):
            load_settings(some)


def test_this_machine_has_a_name() -> None:
    assert host_name()


def test_how_many_requests_at_once_is_a_setting(folder: Path) -> None:
    settings = load_settings({"AICMO_HOME": str(folder), "AICMO_APOLLO_AT_ONCE": "12"})

    assert (settings.apollo.at_once, settings.dropcontact.at_once) == (12, 2)
    assert load_settings(settings.process_environment()) == settings


@pytest.mark.parametrize("given", ["0", "-1", "33", "four", "1.5", "٣"])
def test_a_number_of_requests_that_cannot_be_is_refused(folder: Path, given: str) -> None:
    with pytest.raises(BadInput, match=r"AICMO_APOLLO_AT_ONCE.*from 1 to 32"):
        load_settings({"AICMO_HOME": str(folder), "AICMO_APOLLO_AT_ONCE": given})


def test_where_dagster_is_reached_is_a_setting(folder: Path) -> None:
    settings = load_settings({"AICMO_HOME": str(folder), "AICMO_DAGSTER_URL": "https://d.example/"})

    assert settings.dagster_url == "https://d.example"
    assert load_settings(settings.process_environment()) == settings
    assert load_settings({}).dagster_url == "http://127.0.0.1:3000"


def test_a_secret_may_stand_in_a_file(folder: Path) -> None:
    (folder / "url").write_text("postgresql://user:word@db.example/aicmo\n", encoding="utf-8")
    settings = load_settings({"AICMO_DATABASE_URL_FILE": str(folder / "url")})

    assert settings.database_url == "postgresql://user:word@db.example/aicmo"
    assert load_settings(settings.process_environment()) == settings


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_is_read_from_its_file(folder: Path, name: str) -> None:
    (folder / "secret").write_text("whsec_" + "A" * 32, encoding="utf-8")
    exported = load_settings({f"{name}_FILE": str(folder / "secret")}).process_environment()

    assert exported[name] == "whsec_" + "A" * 32


def test_whether_there_is_a_mailbox_is_known_without_the_settings(folder: Path) -> None:
    told = {"AICMO_INBOUND_URL": "maildir:box", "AICMO_INBOUND_URL_FILE": "inbound"}
    assert [has_mailbox({name: value}) for name, value in told.items()] == [True, True]
    assert not has_mailbox({"AICMO_INBOUND_URL": "", "AICMO_SMTP_URL": "smtp://localhost"})
    (folder / ".env").write_text("AICMO_INBOUND_URL=maildir:box\n", encoding="utf-8")
    assert has_mailbox()
    assert not (folder / ".aicmo").exists()
    (folder / ".env").write_bytes(b"AICMO_INBOUND_URL=\xff\n")
    assert not has_mailbox()


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff", None])
def test_a_secret_s_file_without_a_secret_is_refused(folder: Path, content: bytes | None) -> None:
    if content is not None:
        (folder / "secret").write_bytes(content)
    with pytest.raises(BadInput, match=r"AICMO_SECRET_KEY_FILE: .* empty or cannot be read"):
        load_settings({"AICMO_SECRET_KEY_FILE": str(folder / "secret")})


def test_a_secret_given_twice_is_refused_and_not_quoted(folder: Path) -> None:
    both = {"AICMO_SECRET_KEY": "hush", "AICMO_SECRET_KEY_FILE": "secret"}
    with pytest.raises(BadInput, match="AICMO_SECRET_KEY as well; expected one of the two") as told:
        load_settings(both)
    assert "hush" not in str(told.value)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_limits_that_are_no_limits_are_refused(folder: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"AICMO_DATABASE_CONNECTIONS: found .* 1 or more"):
        load_settings({"AICMO_DATABASE_CONNECTIONS": text})
