"""Settings and keys: which source goes before which, what is refused, and that keys stay out of sight."""

from __future__ import annotations

import tomllib

import pytest

from astraea.cli.serve import run_serve
from astraea.errors import UsageError
from astraea.server.gate import ANY_HOST, hosts_of
from astraea.server.keys import OPEN_TENANT, Keys, read_keys
from astraea.server.settings import Settings, is_loopback, read_settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there: it is refused


@pytest.fixture
def toml(tmp_path):
    def write(text):
        file = tmp_path / "serve.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_flags_go_before_the_environment_and_that_before_the_file(toml):
    file = toml('model = "file"\nport = 1\nhost = "127.0.0.3"')
    environment = {"ASTRAEA_MODEL": "environment", "ASTRAEA_PORT": "2", "ASTRAEA_CACHE_DIR": "/x", "PORT": "7"}
    settings = read_settings({"model": "flag", "port": None}, environment, file)
    assert (settings.model, settings.port, settings.host) == ("flag", 2, "127.0.0.3")
    assert read_settings({}, {}, None) == Settings()


def test_what_is_printed_can_be_read_again(toml):
    settings = Settings(model="toy", port=0, allowed_hosts=("a", "b"), drain_grace_s=1.5, kv_tokens=64)
    assert read_settings({}, {}, toml(settings.as_toml())) == settings


@pytest.mark.parametrize(
    ("flags", "environment", "text", "words"),
    [
        ({"port": 70_000}, {}, "", "the command line: port"),
        ({}, {"ASTRAEA_PORT": "many"}, "", "the environment: port"),
        ({}, {}, "prot = 1", "there is no setting prot"),
        ({}, {}, "port = ", "cannot be read as settings"),
        ({}, {}, 'log_format = "loud"', "log_format"),
        ({}, {}, "session_idle_s = 0", "session_idle_s"),
    ],
)
def test_a_wrong_setting_is_told_with_where_it_was_set(toml, flags, environment, text, words):
    with pytest.raises(UsageError, match=words):
        read_settings(flags, environment, toml(text))


def test_a_list_in_the_environment_has_commas():
    assert read_settings({}, {"ASTRAEA_ALLOWED_HOSTS": "a, b"}, None).allowed_hosts == ("a", "b")


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.2", "example.org", ""])
def test_an_address_that_others_reach_needs_a_key(host):
    settings = Settings(host=host)
    with pytest.raises(UsageError, match="a key is needed"):
        read_keys(settings, {})
    assert len(read_keys(settings, {"ASTRAEA_API_KEYS": "long-enough"})) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_an_address_that_nobody_else_reaches_needs_none(host):
    assert is_loopback(host)
    assert read_keys(Settings(host=host), {}).tenant_of(None) == OPEN_TENANT


def test_keys_have_tenants(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\nann key-of-ann\n\nann another-key\nkey-alone-1\n", encoding="utf-8")
    keys = read_keys(Settings(keys_file=file), {"ASTRAEA_API_KEYS": "bob key-of-bob,key-alone-2"})
    assert len(keys) == 5
    assert [keys.tenant_of(key) for key in ("key-of-ann", "another-key", "key-of-bob")] == ["ann", "ann", "bob"]
    alone = {keys.tenant_of("key-alone-1"), keys.tenant_of("key-alone-2")}
    assert len(alone) == 2
    for wrong in (None, "", "ann", "key-of-an", "key-of-ann ", "KEY-OF-ANN", "key-of-ann\0", "\ud800"):
        assert keys.tenant_of(wrong) is None


@pytest.mark.parametrize("keys", ["short", "a b long-enough"])
def test_what_is_no_key_is_refused_and_not_shown(keys):
    with pytest.raises(UsageError) as refused:
        read_keys(Settings(), {"ASTRAEA_API_KEYS": keys})
    assert keys not in str(refused.value)


def test_keys_are_kept_as_digests_only():
    assert "key-of-ann" not in repr(vars(Keys([("ann", "key-of-ann")])))


def test_any_name_will_do_where_a_key_is_needed_and_only_loopback_names_where_none_is():
    assert hosts_of(Settings()) == {"127.0.0.1", "::1", "localhost"}
    assert hosts_of(Settings(host=EVERYWHERE)) == {ANY_HOST}
    assert hosts_of(Settings(host=EVERYWHERE, allowed_hosts=("Astraea.example",))) == {"astraea.example"}


def test_the_command_prints_its_settings(capsys, monkeypatch):
    monkeypatch.setenv("ASTRAEA_API_KEYS", "secret-key-1")
    assert run_serve(["--print-config", "--model", "toy", "--max-num-seqs", "3"]) == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["max_num_seqs"] == 3
    assert "secret" not in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", EVERYWHERE], "a key is needed"),
        (["--policy", "fcsf", "--model", "toy"], "There is no policy"),
        (["--policy", "srpt-oracle", "--model", "toy"], "told the future"),
        (["--model", "./nowhere"], "no such folder"),
        (["--model", "toy", "--max-model-len", "9999999"], "was made for 8192 tokens"),
        (["--api-key", "secret"], "No such option"),
        (["--port", "x"], "--port"),
        (["--config", "/nowhere.toml"], "cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(capsys, arguments, words):
    assert run_serve(arguments) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
