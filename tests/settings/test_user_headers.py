"""`user_header_mappings`: which headers name the end user, and what cannot."""

from __future__ import annotations

import pytest

from extproc.errors import ConfigError

CUSTOMER = "{header_name: X-User, litellm_user_role: customer}"
OWNER = "{header_name: X-Owner, litellm_user_role: internal_user}"


def mapped(load, told: str, **options: bool):
    return load(f"general_settings:\n  user_header_mappings: {told}\n", **options)


def test_without_it_no_header_names_anybody(load):
    found = load("")

    assert (found.end_user_headers, found.mapped_headers) == ((), ())


@pytest.mark.parametrize("told", [CUSTOMER, f"[{CUSTOMER}]"])
def test_one_mapping_and_a_list_of_one_are_the_same(load, told):
    found = mapped(load, told, strict=True)

    assert (found.end_user_headers, found.mapped_headers) == (("x-user",), ("x-user",))


def test_several_keep_their_order_and_each_is_there_once(load):
    second = "{header_name: x-customer, litellm_user_role: customer}"
    again = "{header_name: x-user, litellm_user_role: customer}"

    assert mapped(load, f"[{CUSTOMER}, {second}, {again}]").end_user_headers == ("x-user", "x-customer")


def test_an_internal_user_is_told_as_not_supported_and_their_header_only_removed(load):
    found = mapped(load, f"[{CUSTOMER}, {OWNER}]")

    assert found.end_user_headers == ("x-user",)
    assert found.mapped_headers == ("x-user", "x-owner")
    (line,) = found.unsupported
    assert "2:" in line
    assert "internal_user is not supported" in line
    with pytest.raises(ConfigError, match="internal_user is not supported"):
        mapped(load, OWNER, strict=True)


@pytest.mark.parametrize("name", ["authorization", "Content-Type", "x-extproc-upstream", "'x user'", "cookie"])
def test_a_header_that_means_something_else_is_a_mistake(load, name):
    with pytest.raises(ConfigError, match=r"config\.yaml:2:\d+: .* cannot say who a user is"):
        mapped(load, f"[{{header_name: {name}, litellm_user_role: customer}}]")


@pytest.mark.parametrize("told", ["[{header_name: X-User}]", "{header_name: X-User, litellm_user_role: admin}", "[7]"])
def test_what_is_no_mapping_is_a_mistake_with_its_place(load, told):
    with pytest.raises(ConfigError, match=r"config\.yaml:2:\d+: "):
        mapped(load, told)


@pytest.mark.parametrize("told", ["{}", "[{}]"])
def test_what_is_not_known_in_it_is_told(load, told):
    (line,) = mapped(load, told.replace("{}", CUSTOMER.replace("}", ", colour: red}"))).unsupported

    assert "colour" in line
