"""The lists of words by which `verify` compares two texts. They are ours, written for questions to assistants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache


def _of(text: str) -> frozenset[str]:
    return frozenset(text.split())


POLITE = re.compile(
    r"""\b(?:
      (?:please|pls|plz|kindly|thanks|thank\s+you(?:\s+so\s+much)?|hi(?:\s+there)?|hello|hey|ok(?:ay)?|so|well|um|quick\s+question)\b[,!.:]*
    | (?:can|could|would|will)\s+you\s+(?:please\s+|kindly\s+|just\s+)?
      (?:(?:tell|show|help|remind|teach|let)\s+me\s+(?:know\s+)?(?:about\s+)?)?
    | (?:please\s+)?(?:tell|show|help|remind|teach)\s+me\s+(?:about\s+)?
    | i(?:'d|\s+would)?\s+(?:like|love|want|need|wish)\s+to\s+(?:know|learn|find\s+out|understand|ask)\s*(?:about\b|,)?
    | i(?:'m|\s+am)\s+(?:wondering|curious|trying\s+to\s+(?:find\s+out|understand|figure\s+out))\s*(?:about\b)?
    | do\s+you\s+(?:happen\s+to\s+)?know
    | (?:any\s+idea|i\s+wonder|just\s+wondering|let\s+me\s+know|may\s+i\s+ask|might\s+i\s+ask)
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
"""What is said around a request and asks for nothing."""

NEGATIONS = _of(
    """
    not no never none nobody nothing nowhere neither nor cannot cant dont doesnt didnt isnt arent wasnt werent
    wont wouldnt shouldnt couldnt hasnt havent hadnt aint without except excluding exclude excluded besides
    unless instead rather avoid lack lacks lacking barely hardly but only
    """
)

_NUMBERS = """
zero 0|two 2|three 3|four 4|five 5|six 6|seven 7|eight 8|nine 9|ten 10|eleven 11|twelve 12|thirteen 13|fourteen 14|
fifteen 15|sixteen 16|seventeen 17|eighteen 18|nineteen 19|twenty 20|thirty 30|forty 40|fifty 50|sixty 60|seventy 70|
eighty 80|ninety 90|hundred 100|thousand 1000|million 1000000|billion 1000000000|half 0.5|quarter 0.25|dozen 12
"""
NUMBERS: Mapping[str, str] = {one.split()[0]: one.split()[1] for one in _NUMBERS.split("|")}
"""Numbers as words. "One" is none: it mostly stands for a thing."""

_UNITS = """
m meter meters metre metres|km kilometer kilometers kilometre kilometres kms|
cm centimeter centimeters centimetre centimetres|mm millimeter millimeters millimetre millimetres|mile miles mi|
ft foot feet|inch inches|yard yards yd|kg kilo kilos kilogram kilograms|g gram grams|mg milligram milligrams|
mcg microgram micrograms|lb lbs pound pounds|oz ounce ounces|tonne tonnes|ton tons|liter liters litre litres|
ml milliliter milliliters millilitre millilitres|gallon gallons|pint pints|cup cups|tablespoon tablespoons tbsp|
teaspoon teaspoons tsp|celsius centigrade|fahrenheit|kelvin|second seconds sec secs|minute minutes min mins|
hour hours hr hrs|day days|week weeks wk|fortnight fortnights|month months|year years yr yrs|decade decades|
century centuries|byte bytes|kb kilobyte kilobytes|mb megabyte megabytes|gb gigabyte gigabytes|
tb terabyte terabytes|bit bits|mbps|gbps|$ usd dollar dollars bucks|€ eur euro euros|£ gbp quid|¥ yen jpy|
rupee rupees inr|percent percentage|degree degrees|mph|kph kmh|watt watts|kw kilowatt kilowatts|kwh|volt volts|
amp amps|calorie calories kcal|joule joules|acre acres|hectare hectares|mpg|rpm|hz hertz|mhz|ghz|pixel pixels px|
ms millisecond milliseconds|ns nanosecond nanoseconds
"""
UNITS: Mapping[str, str] = {word: group.split()[0] for group in _UNITS.split("|") for word in group.split()}
"""Units by their names, each as the first of them."""

ASKED: Mapping[str, str] = {
    "how many": r"\bhow many\b|\bnumber of\b|\bcount of\b",
    "how long": r"\bhow long\b|\bhow much time\b|\bduration of\b",
    "how often": r"\bhow often\b|\bhow frequently\b|\bhow many times\b|\bfrequency of\b",
    "how far": r"\bhow far\b|\bdistance (?:between|from|to)\b",
    "how much": r"\bhow much (?!time)|\b(?:cost|price) of\b"
    r"|\bwhat (?:does|do|is|are|will|would)\b.{0,40}\b(?:costs?|price)\b",
    "how old": r"\bhow old\b|\bage of\b",
    "how big": r"\bhow (?:big|large|tall|high|deep|wide|heavy|fast)\b",
    "who": r"\bwho\b|\bwhom\b|\bwhose\b|\bwhich person\b",
    "when": r"\bwhen\b|\bwhat (?:time|date|day|year|month)\b|\bwhich (?:day|date|year|month)\b",
    "where": r"\bwhere\b|\b(?:what|which) (?:place|city|country|location)\b",
    "why": r"\bwhy\b|\bhow come\b|\bfor what reason\b|\bwhat(?:'s| is| are)? the reasons?\b|\b(?:what )?causes? of\b",
}
"""What is asked for, by the words that ask for it."""

YES_OR_NO: Mapping[str, str] = {
    **dict.fromkeys(_of("is are am was were isn't aren't wasn't weren't"), "is it"),
    **dict.fromkeys(_of("do does did don't doesn't didn't has have had hasn't haven't"), "does it"),
    **dict.fromkeys(_of("can could may might can't couldn't"), "can it"),
    **dict.fromkeys(_of("will would won't wouldn't"), "will it"),
    **dict.fromkeys(_of("should shall must ought shouldn't mustn't"), "should it"),
}
"""The first word of a question that is answered by yes or no, and which kind that is."""

DIRECTIONS = _of(
    """
    of from to into onto than before after over under above below by for against with until since through via
    per within
    """
)

SYMMETRIC = _of(
    """
    and or vs versus between both compare compared comparison difference differences differ & together
    """
)

FILLERS = _of(
    """
    a an the this that these those of in on at as is are was were be been being am do does did doing done have
    has had having will would shall should can could may might must i i'd i'm i've i'll me my mine we we're
    our us you your it it's its they them their there here and or if then so also just really very exactly
    actually currently some any one ones what what's which how how's who whom whose when when's where where's
    why such like about way ways step steps process explain need want get got getting let make sure able
    possible thing things go going use using using
    """
)
"""Words without a meaning of their own beside those that have one."""

_SYNONYMS = """
cancel|terminate|discontinue
buy|purchase
begin|start|commence
finish|complete
fix|repair|resolve|solve|troubleshoot
error|exception
delete|remove|erase
create|make
build|construct
modify|change|alter|edit|update|amend
reset|recover
return|send back
refund|reimbursement|reimburse
ship|deliver|dispatch|delivery|shipping|shipment
order
bill|invoice
pay|payment
subscription|membership
password|passcode
login|signin|logon
signup|register|registration
phone|telephone|mobile|cellphone
email|e-mail
photo|picture|photograph
car|automobile
film|movie
child|kid|children|kids
doctor|physician
medicine|medication
big|large
small|little
quick|fast|rapid
easy|simple
difficult|hard
cheap|inexpensive
expensive|costly
happy|glad
summarize|summarise|summary|recap
describe|description
explain
write|compose|draft
function|method
list|array
folder|directory
application|app
website|site|webpage
program|programme
picture|image
capital
biggest|largest
smallest|littlest
quickest|fastest
shop|store
holiday|vacation
flat|apartment
film|movie
salary|wage|pay packet
job|occupation
boss|manager|supervisor
assist|help|support
shut|close
answer|reply|respond|response
allow|permit
obtain|acquire
choose|select|pick
locate|find
meaning|mean|definition|define
author|writer
invent|invention|inventor
discover|discovery|discoverer
convert|conversion|transform
translate|translation
calculate|compute|calculation
install|installation|setup
configure|configuration
download
upload
connect|connection
compare|comparison
difference|differ|differences|different|distinction
advantage|benefit|pro|upside
disadvantage|drawback|con|downside
symptom|sign
treat|treatment|cure
recipe
cook|prepare
boil|boiling
population|inhabitants
temperature
weather
cost|price|fee|charge
opening|open
hour
available|availability
address
contact|reach
customer|client
account
card
credential|credentials
database|db
javascript|js
typescript|ts
postgres|postgresql
kubernetes|k8s
sort|order by
reverse|invert
iterate|loop
string
integer|int
dictionary|dict
test
"""

_ENDS = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", ""))
_SPELLED = (
    (re.compile(r"our$"), "or"),
    (re.compile(r"tre$"), "ter"),
    (re.compile(r"is(e|ed|ing|ation)$"), r"iz\1"),
    (re.compile(r"ogue$"), "og"),
    (re.compile(r"yse$"), "yze"),
)


@lru_cache(maxsize=4_096)
def stem_of(word: str) -> str:
    """Without the ends that change no meaning here, and as Americans spell it."""
    for pattern, instead in _SPELLED:
        word = pattern.sub(instead, word) if len(word) > 4 else word
    if len(word) > 3 and not word.endswith(("ss", "us", "is")):
        for end, instead in _ENDS:
            if word.endswith(end):
                word = word.removesuffix(end) + instead
                break
    for end in ("ing", "ed"):
        if word.endswith(end) and len(word) - len(end) >= 3 and re.search("[aeiouy]", word.removesuffix(end)):
            word = word.removesuffix(end)
            if len(word) > 2 and word[-1] == word[-2] and word[-1] not in "sz":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) > 3 else word


CANONICAL: dict[str, str] = {}
for _group in _SYNONYMS.split("\n"):
    _words = [one for one in _group.split("|") if one and " " not in one]
    if _words:
        _first = CANONICAL.get(stem_of(_words[0]), stem_of(_words[0]))
        for _word in _words:
            CANONICAL.setdefault(_word, _first)
            CANONICAL.setdefault(stem_of(_word), _first)


def canonical(word: str) -> str:
    """The first of a word's synonyms, or its stem.

    >>> canonical("cancelled") == canonical("cancelling") == canonical("cancel")
    True
    """
    word = word.removesuffix("'s").removesuffix("'")
    stem = stem_of(word)
    return CANONICAL.get(word) or CANONICAL.get(stem) or stem


_OPPOSED = """
open closed|open close|on off|enable disable|increase decrease|include exclude|start stop|begin end|before after|
above below|more less|most least|max min|maximum minimum|best worst|better worse|buy sell|accept reject|allow deny|
allow block|add remove|upload download|encrypt decrypt|encode decode|import export|push pull|send receive|
lock unlock|login logout|up down|in out|hot cold|high low|long short|fast slow|cheap expensive|easy difficult|
advantage disadvantage|safe dangerous|legal illegal|true false|first last|ascending descending|inbound outbound|
upgrade downgrade|install uninstall|raise lower|gain lose|win lose|pass fail|love hate|always never|eat avoid|
keep delete|show hide|connect disconnect|mount unmount|left right
"""
ANTONYMS = tuple((canonical(one), canonical(other)) for one, other in map(str.split, _OPPOSED.split("|")))
"""Pairs of opposite meaning, as their stems."""

LANGUAGES: Mapping[str, frozenset[str]] = {
    "en": _of(
        """
    the is are was what how do does of to in and my i a an for can you it on with this that who why when where
    which
    """
    ),
    "de": _of(
        """
    der die das ist sind was wie ich und nicht ein eine mein meine zu mit für auf den dem von kann wo wer
    warum
    """
    ),
    "fr": _of(
        """
    le la les est sont que quel quelle comment je et pas un une mon ma mes pour avec dans du des où qui
    pourquoi
    """
    ),
    "es": _of(
        """
    el la los las es son qué que cómo como yo y no un una mi mis para con en del de dónde quién por cuál
    """
    ),
    "it": _of(
        """
    il lo la gli è sono che come io e non un una mio mia per con nel del di dove chi perché qual
    """
    ),
    "pt": _of(
        """
    o os as é são que como eu e não um uma meu minha para com no na do da de onde quem qual
    """
    ),
    "nl": _of(
        """
    de het is zijn wat hoe ik en niet een mijn voor met op van kan waar wie waarom welke
    """
    ),
}
"""The small words of some languages, to tell them apart."""
