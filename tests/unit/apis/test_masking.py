"""Our own secrets in a server's answers."""

import json

import pytest

from moichord.apis.http import Client, Deadlines, Endpoint
from moichord.apis.masking import Mask
from moichord.sample import Api
from tests.fault_server import FaultServer, answering


@pytest.mark.parametrize("word", ["plain-secret", 'quo"te/slash', "Bearer abcdefgh", "a+b c&d=efg"])
@pytest.mark.parametrize("spell", [str, json.dumps, lambda word: json.dumps(word).replace("/", "\\/")])
def test_a_secret_is_masked_however_an_answer_spells_it(word: str, spell) -> None:
    answer = f"refused: {spell(word)}.".encode()
    assert b"***" in Mask([word])(answer)
    assert word.rpartition(" ")[2].encode() not in Mask([word])(answer)


def test_the_token_of_a_key_with_a_scheme_is_masked_alone_too() -> None:
    assert Mask(["Bearer abcdefgh"])(b"token abcdefgh is unknown") == b"token *** is unknown"


def test_what_is_short_may_be_any_word_and_stays() -> None:
    assert Mask(["dog", "", "Bearer ok"])(b"a dog is ok") == b"a dog is ok"


def answer_of(status: int) -> bytes:
    body = b"key: long-enough-key, site: harbour-street"
    with FaultServer(answering(status, body)) as server:
        endpoint = Endpoint(
            Api.METADATA,
            server.url,
            "GET",
            Deadlines(5, 5),
            {"x-api-key": "long-enough-key"},
            private=("harbour-street",),
        )
        return Client(endpoint).send(b"").content


def test_of_a_refusal_all_that_is_ours_is_masked_and_of_a_good_answer_nothing_but_the_key() -> None:
    assert answer_of(400) == b"key: ***, site: ***"
    assert answer_of(200) == b"key: ***, site: harbour-street"
