"""What looks like a person's data, or like a secret: found in text by form, and by checksum where there is one.

    kind     found by                                                             checked by
    email    local@domain.tld
    phone    +49 30 1234567, (030) 123-4567 forms: an international prefix, or     8 to 15 digits (E.164)
             North America's 3-3-4
    card     13 to 19 digits, in groups or not, of a known first digit            Luhn (ISO/IEC 7812-1)
    iban     two letters, two digits, 11 to 30 letters and digits                 the country's length, ISO 13616
    ssn      AAA-GG-SSSS of the United States                                     areas, groups and serials that exist
    ip       IPv4, IPv6                                                           `ipaddress`
    key      API keys of LLM providers, by their prefixes; Slack, GitLab, Hugging Face, Raygate's own
    aws      access key ids; secret keys behind their usual names
    github   tokens of all kinds
    jwt      three parts, the first two of them JSON in base64url
    private  PEM blocks of private keys

Forms are not proofs: a number that happens to pass Luhn is taken for a card, and a name is not found at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

Check = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """`near` is a character, or a few, without which there is none: looking for it is much cheaper."""

    name: str
    pattern: re.Pattern[str]
    check: Check | None = None
    near: tuple[str, ...] = ()


def luhn(said: str) -> bool:
    """Whether these digits can be a card's.

    >>> luhn("4111 1111 1111 1111"), luhn("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(one) for one in said if one.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (one * 2 if at % 2 else one for at, one in enumerate(reversed(digits)))
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0


LENGTHS: Mapping[str, int] = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FK", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
"""How long an IBAN of a country is, by SWIFT's registry of IBANs."""


def iban(said: str) -> bool:
    """Whether its length is that of its country, and its checksum right.

    >>> iban("DE89 3704 0044 0532 0130 00"), iban("DE89 3704 0044 0532 0130 01")
    (True, False)
    """
    bare = said.replace(" ", "").upper()
    if len(bare) != LENGTHS.get(bare[:2]):
        return False
    return int("".join(str(int(one, 36)) for one in bare[4:] + bare[:4])) % 97 == 1


def _phone(said: str) -> bool:
    digits = sum(one.isdigit() for one in said)
    return 8 <= digits <= 15


def _address(said: str) -> bool:
    try:
        ip_address(said)
    except ValueError:
        return False
    # `a::b` is an address, and more often a name in C++.
    return any(one.isdigit() for one in said)


def _re(pattern: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(pattern, flags)


_KEYS = (
    r"sk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek, LiteLLM
    r"AIza[A-Za-z0-9_-]{35}",  # Google
    r"gsk_[A-Za-z0-9]{20,}",  # Groq
    r"xai-[A-Za-z0-9]{20,}",
    r"pplx-[A-Za-z0-9]{20,}",  # Perplexity
    r"hf_[A-Za-z0-9]{30,}",
    r"r8_[A-Za-z0-9]{30,}",  # Replicate
    r"rg-[A-Za-z0-9_-]{20,}",  # ours
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"glpat-[A-Za-z0-9_-]{20,}",
)

SECRETS = ("private", "jwt", "github", "aws", "key")
PII = ("email", "iban", "card", "ssn", "phone", "ip")

KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        Kind(
            "private",
            _re(
                r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
                r"(?:(?!-----END)[\s\S]){0,20000}(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
            ),
            near=("PRIVATE KEY",),
        ),
        Kind("jwt", _re(r"(?<![\w-])eyJ[\w-]{5,}\.eyJ[\w-]{5,}\.[\w-]{5,}"), near=("eyJ",)),
        Kind(
            "github",
            _re(r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
            near=("gh", "github_pat_"),
        ),
        Kind(
            "aws",
            _re(
                r"(?<!\w)(?:A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{16}(?!\w)"
                r"|(?i:(?<=secret_access_key)|(?<=secretaccesskey)|(?<=secret access key))"
                r"[\"']?\s{0,3}[=:]\s{0,3}[\"']?[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])"
            ),
            near=("A", "ecret", "ECRET"),
        ),
        Kind("key", _re(rf"(?<![\w-])(?:{'|'.join(_KEYS)})"), near=("-", "_", "AIza")),
        Kind(
            "email",
            _re(r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"),
            near=("@",),
        ),
        Kind("iban", _re(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]){11,29}(?![A-Za-z0-9])"), iban),
        Kind("card", _re(r"(?<![\d.-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\d-])"), luhn),
        Kind(
            "ssn",
            _re(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
            near=("-",),
        ),
        Kind(
            "phone",
            _re(
                r"(?<![\w+])\+\d{1,3}(?:[ ./-]?\(?\d{1,5}\)?){2,6}(?!\d)"
                r"|(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}(?![\w-])"
            ),
            _phone,
        ),
        Kind(
            "ip",
            _re(
                r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)"
                r"|(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{2,39}(?![\w:])"
            ),
            _address,
            near=(".", ":"),
        ),
    )
}
"""In the order in which they are looked for: a secret before a part of it is taken for something else."""


def chosen(kinds: Sequence[str], own: Mapping[str, str]) -> tuple[Kind, ...]:
    """These of `KINDS`, in their order, after patterns of one's own. Raises `ValueError` for what there is not."""
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"there is nothing to find named `{min(unknown)}`; there are: {', '.join(KINDS)}")
    found = []
    for name, pattern in own.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", name):
            raise ValueError(f"`{name}` should be a name of letters, digits and `_`")
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"the pattern of `{name}` is no regular expression: {error}") from None
        if compiled.match(""):
            raise ValueError(f"the pattern of `{name}` is found everywhere: it fits nothing at all")
        found.append(Kind(name, compiled))
    return (*found, *(kind for name, kind in KINDS.items() if name in kinds))


def found_in(text: str, kinds: Sequence[Kind]) -> Iterator[tuple[int, int, str]]:
    """Where something begins and ends, and of which kind it is; in order, none within another.

    >>> [text for a, b, kind in found_in("to ann@example.org", tuple(KINDS.values())) for text in [kind]]
    ['email']
    """
    taken: list[tuple[int, int, str]] = []
    for kind in kinds:
        if kind.near and not any(one in text for one in kind.near):
            continue
        for match in kind.pattern.finditer(text):
            start, end = match.span()
            if any(start < b and a < end for a, b, _ in taken):
                continue
            if kind.check is None or kind.check(match[0]):
                taken.append((start, end, kind.name))
    return iter(sorted(taken))
