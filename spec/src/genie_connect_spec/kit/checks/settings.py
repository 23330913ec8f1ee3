"""Settings: one class that checks itself, explains itself, and keeps its secrets.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from genie_connect.errors import Problem, SecretUnavailable, SettingsError
from genie_connect.model.codec import unstructure
from genie_connect.model.secret import Secret
from genie_connect.model.settings import SettingInfo, choices_of, field_types, info_of, redacted, without_none
from genie_connect.model.validation import Rejected, external_name
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.rig import Rig

GOOD: Final = "GC-SET-001"
CANARY: Final = "canary-4b1d-in-the-wrong-place"
_SECRET_NAMES: Final = re.compile(
    r"(?:\A|_)(?:password|passwd|passphrase|secret|token|api_?key|access_key|private_key|server_token|signing_key|credentials?)\Z"
)
_GROUPS: Final = frozenset({"basic", "auth", "webhooks", "advanced"})


@attrs.frozen
class _Setting:
    name: str
    field: Any
    hint: Any
    optional: bool
    info: SettingInfo

    @property
    def required(self) -> bool:
        return self.field.default is attrs.NOTHING


def _all(rig: Rig) -> list[_Setting]:
    cls = rig.info.settings_class
    types = field_types(cls)
    found = []
    for field in attrs.fields(cls):
        hint, optional = without_none(types[field.name])
        found.append(_Setting(external_name(field.name), field, hint, optional, info_of(field)))
    return found


def _of_type(rig: Rig, hint: Any) -> list[_Setting]:
    return [each for each in _all(rig) if each.hint is hint]


def _refuses(rig: Rig, data: Mapping[str, Any], what: str) -> SettingsError:
    try:
        rig.structured(data)
    except SettingsError as error:
        return error
    raise AssertionError(f"the settings take {what}")


def _with(rig: Rig, name: str, value: Any) -> dict[str, Any]:
    return {**rig.data, name: value}


@check("GC-SET-001", after=("GC-DISC-001",))
def valid_settings_are_taken(rig: Rig) -> None:
    """Everything else is checked with the settings that the author calls valid."""
    settings = rig.settings
    assert isinstance(settings, rig.info.settings_class)


@check("GC-SET-003", after=(GOOD,))
def all_problems_are_told_at_once(rig: Rig) -> None:
    """A person corrects a form once, not field by field."""
    wrong = {**rig.data, "kit_unknown_setting": 1, "kit_unknown_other": 2}
    named = [each for each in _all(rig) if each.hint is not bool][:1]
    wrong |= {each.name: object() for each in named}
    error = _refuses(rig, wrong, "what they do not know")
    paths = {problem.path for problem in error.problems}
    assert paths >= {"kit_unknown_setting", "kit_unknown_other", *(each.name for each in named)}, f"it tells of {paths}"


@check("GC-SET-004", after=(GOOD,))
def a_missing_setting_is_named(rig: Rig) -> None:
    """What has no default has to be given."""
    required = [each for each in _all(rig) if each.required]
    needs(required, "no setting is required")
    error = _refuses(rig, {}, "nothing at all")
    paths = {problem.path for problem in error.problems}
    assert paths >= {each.name for each in required}, f"the error names {paths}"


@check("GC-SET-005", after=(GOOD,))
def text_is_no_truth_value(rig: Rig) -> None:
    """The text "false" is true in Python."""
    for each in _of_type(rig, bool):
        _refuses(rig, _with(rig, each.name, "false"), f"the text 'false' for {each.name}")


@check("GC-SET-006", after=(GOOD,))
def text_is_no_number(rig: Rig) -> None:
    """What is converted silently is converted wrongly one day."""
    for each in (*_of_type(rig, int), *_of_type(rig, float)):
        _refuses(rig, _with(rig, each.name, "5"), f"text for the number {each.name}")
        _refuses(rig, _with(rig, each.name, True), f"a truth value for the number {each.name}")


@check("GC-SET-007", after=(GOOD,))
def nothing_is_no_value(rig: Rig) -> None:
    """None must not become the text 'None'."""
    for each in [each for each in _all(rig) if not each.optional]:
        _refuses(rig, _with(rig, each.name, None), f"None for {each.name}")


@check("GC-SET-008", after=(GOOD,))
def a_number_is_no_text(rig: Rig) -> None:
    """A number where text belongs is a mistake of whoever wrote it."""
    for each in _of_type(rig, str):
        _refuses(rig, _with(rig, each.name, 5), f"a number for the text {each.name}")


@check("GC-SET-009", after=(GOOD,))
def no_setting_holds_a_line_break(rig: Rig) -> None:
    """A line break in a setting ends up in a header or a command, with whatever follows it."""
    for each in _of_type(rig, str):
        if not choices_of(each.hint):
            _refuses(rig, _with(rig, each.name, "a\r\nX-Injected: b"), f"a line break in {each.name}")


@check("GC-SET-010", after=(GOOD,))
def an_unknown_choice_is_refused(rig: Rig) -> None:
    """And the error says which there are."""
    for each in [each for each in _all(rig) if choices_of(each.hint)]:
        error = _refuses(rig, _with(rig, each.name, "kit-no-choice"), f"any text for {each.name}")
        said = str(error)
        assert all(choice in said for choice in choices_of(each.hint)), f"the error of {each.name} names no choices"


@check("GC-SET-011", after=(GOOD,))
def secrets_are_secret(rig: Rig) -> None:
    """What is called a password or key is masked everywhere, encrypted in the store, and never sent back to a form."""
    for each in _all(rig):
        if _SECRET_NAMES.search(each.name) and each.hint is str:
            raise AssertionError(f"{each.name} is text: make its type Secret")


@check("GC-SET-012", after=(GOOD,))
def secrets_are_marked(rig: Rig) -> None:
    """Forms and documentation go by the mark."""
    for each in _all(rig):
        is_secret = each.hint is Secret
        assert each.info.secret == is_secret, f"{each.name}: setting(secret={each.info.secret}) does not fit its type"


@check("GC-SET-014", after=(GOOD,))
def settings_show_no_secret(rig: Rig) -> None:
    """Settings are logged by everybody sooner or later."""
    needs(rig.canaries, "it has no secret settings")
    settings = rig.settings
    shown = f"{settings!r} {settings} {redacted(settings)} {attrs.asdict(settings)} {unstructure(settings)}"
    assert not [secret for secret in rig.canaries if secret in shown], "the settings show a secret"


@check("GC-SET-015", after=(GOOD,))
def errors_show_no_secret(rig: Rig) -> None:
    """A secret in the wrong place, or of the wrong form, is a secret still."""
    secrets = _of_type(rig, Secret)
    needs(secrets, "it has no secret settings")
    for each in secrets:
        for value in (
            [CANARY],
            {"value": CANARY},
            f"{CANARY}\r\n",
            f"\x00{CANARY}",
            f"{CANARY} {CANARY}",
            CANARY * 1000,
        ):
            try:
                settings = rig.structured(_with(rig, each.name, value))
            except SettingsError as error:
                assert CANARY not in f"{error} {error!r} {error.problems}", f"the error of {each.name} shows the value"
            else:
                assert CANARY not in repr(settings), f"{each.name} is shown"


@check("GC-SET-016", after=(GOOD,))
def a_reference_is_not_followed_early(rig: Rig) -> None:
    """Settings are checked on machines where the secret is not: in CI, in a form."""
    for each in _of_type(rig, Secret):
        if each.name not in rig.data:
            continue  # it may need others beside it
        data = _with(rig, each.name, "env:GENIE_CONNECT_KIT_NOT_SET")
        try:
            rig.structured(data)
        except (SettingsError, SecretUnavailable) as error:
            raise AssertionError(f"{each.name} as a reference is refused: {type(error).__name__}") from None


@check("GC-SET-017", after=(GOOD,))
def settings_do_not_change(rig: Rig) -> None:
    """Several connections and tasks share them."""
    settings = rig.settings
    for field in attrs.fields(type(settings)):
        try:
            setattr(settings, field.name, getattr(settings, field.name))
        except (attrs.exceptions.FrozenInstanceError, AttributeError):
            continue
        raise AssertionError(f"{field.name} can be changed")


def _problem(each: _Setting, value: Any) -> Problem | None:
    """What is wrong with a value by itself, whatever the other settings are."""
    converted = value if each.field.converter is None else each.field.converter(value)
    return converted.problems[0] if isinstance(converted, Rejected) else None


@check("GC-SET-018", after=(GOOD,))
def defaults_are_valid(rig: Rig) -> None:
    """A default that is refused when it is written out is a default that nobody can rely on."""
    for each in _all(rig):
        default = each.field.default
        if each.required or not (default is None or isinstance(default, str | int | float | bool | tuple)):
            continue
        problem = _problem(each, default)
        assert problem is None, f"the default of {each.name} is refused: {problem}"


@check("GC-SET-019", after=(GOOD,))
def examples_are_valid(rig: Rig) -> None:
    """People copy examples."""
    for each in _all(rig):
        problem = None if each.info.example is None else _problem(each, each.info.example)
        assert problem is None, f"the example of {each.name} is refused: {problem}"


@check("GC-SET-020", after=(GOOD,))
def limits_hold(rig: Rig) -> None:
    """A limit in the schema is a limit of the class."""
    for each in _all(rig):
        for limit, beyond in ((each.info.minimum, -1), (each.info.maximum, 1)):
            if limit is not None and each.hint in (int, float):
                _refuses(rig, _with(rig, each.name, each.hint(limit + beyond)), f"{limit + beyond} for {each.name}")


@check("GC-SET-021", after=(GOOD,))
def every_setting_has_a_title(rig: Rig) -> None:
    """A form shows titles, not names of attributes."""
    for each in _all(rig):
        title = each.info.title
        assert title.strip() and title.isprintable(), f"{each.name} has no title"


@check("GC-SET-022", force=Force.SHOULD, after=(GOOD,))
def required_settings_are_explained(rig: Rig) -> None:
    """Whoever fills in a form wants to know where the value is found."""
    bare = [each.name for each in _all(rig) if each.required and not each.info.help]
    assert not bare, f"{', '.join(bare)} has no help"


@check("GC-SET-023", after=(GOOD,))
def hints_lead_somewhere(rig: Rig) -> None:
    """A form that shows a field only if another has a value needs that other field."""
    names = {each.name: each for each in _all(rig)}
    for each in names.values():
        assert each.info.group in _GROUPS, (
            f"{each.name} is in group {each.info.group!r}; use basic, auth, webhooks or advanced"
        )
        for other, value in each.info.show_if.items():
            assert other in names, f"{each.name} is shown by {other!r}, which is no setting"
            choices = choices_of(names[other].hint)
            assert not choices or value in choices, f"{each.name} is shown if {other} is {value!r}, which is no choice"
        unknown = set(each.info.titles) - set(choices_of(each.hint))
        assert not unknown, f"{each.name} has titles for {unknown}, which are no choices"


@check("GC-SET-025", after=(GOOD,))
def a_url_is_checked(rig: Rig) -> None:
    """A URL leads a key somewhere: it has to be one, and holds no password."""
    urls = [each for each in _all(rig) if each.name.endswith("url") and each.hint is str]
    needs(urls, "it has no setting that is a URL")
    for each in urls:
        for wrong in ("ftp://example.com", "//example.com", "https://user:password@example.com", "https://", "no url"):
            _refuses(rig, _with(rig, each.name, wrong), f"{wrong} for {each.name}")


@check("GC-SET-026", after=(GOOD,))
def equal_settings_are_equal(rig: Rig) -> None:
    """A host compares settings to see whether a connection has to be opened anew."""
    assert rig.structured(rig.data) == rig.structured(dict(rig.data)), "settings of the same data differ"


@check("GC-SET-027", after=(GOOD, "GC-SET-018"))
def what_is_optional_can_be_left_out(rig: Rig) -> None:
    """Whoever fills in what a form demands has filled it in, or is told what else: one of two keys, say."""
    demanded = {each.name: rig.data[each.name] for each in _all(rig) if each.required and each.name in rig.data}
    try:
        rig.structured(demanded)
    except SettingsError as error:
        named = {problem.path for problem in error.problems}
        assert len(named) > 1 and named <= {each.name for each in _all(rig)} - demanded.keys(), (
            f"all settings without a default are given, and they are refused: {error}"
        )
