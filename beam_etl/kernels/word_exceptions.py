"""Words that the rules of `affixes` would cut wrongly, after spaCy's exceptions for English (MIT licence).

Contractions, abbreviations that keep their full stop, hours, and faces made of punctuation.
"""

from collections.abc import Iterator
from functools import cache

_PERSONS = ("i", "you", "he", "she", "it", "we", "they")
_QUESTIONS = ("who", "what", "when", "where", "why", "how", "there")
_PLURALS = ("these", "those")
_AUXILIARIES = (
    *("ca", "could", "do", "does", "did", "had", "may", "might", "must", "need", "ought", "sha", "should"),
    *("wo", "would"),
)

_CONTRACTIONS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("i",), ("'m", "'m a")),
    ((*_PERSONS, *_QUESTIONS, "that", "this", *_PLURALS), ("'ll", "'ll 've", "'d", "'d 've")),
    (("i", "you", "we", "they", *_QUESTIONS, *_PLURALS), ("'ve",)),
    (("you", "we", "they", *_QUESTIONS, *_PLURALS), ("'re",)),
    (("he", "she", "it", *_QUESTIONS, "that", "this"), ("'s",)),
    (_AUXILIARIES, ("n't", "n't 've")),
    (("ai", "are", "is", "was", "were", "have", "has", "dare"), ("n't",)),
    (("could", "might", "must", "should", "would", "not"), ("'ve",)),
)
"""Words and what is contracted with them: with the apostrophe and without, in lower case and in title case."""

_NO_CONTRACTIONS = frozenset(["ill", "its", "hell", "shell", "shed", "were", "well", "whore"])
"""Words of their own, in either case."""

_CASED = (
    *("can not", "gon na", "got ta", "let 's", "c'm on", "how 'd 'y", "ma'am", "o'clock"),
    *("doin", "goin", "nothin", "nuthin", "ol", "somethin", "lovin", "havin"),
    *("doin'", "goin'", "nothin'", "nuthin'", "ol'", "somethin'", "lovin'", "havin'"),
)
"""In lower case and in title case."""

_AS_THEY_ARE = (
    *("y' all", "y all", "em", "'em", "ll", "'ll", "nuff", "'nuff", "'s", "'S", "‘s", "‘S", "'re", "'d"),
    *("'Cause", "'cause", "'cos", "'Cos", "'coz", "'Coz", "'cuz", "'Cuz", "'bout", "and/or", "w/o"),
    *("'", "''", '\\")', "<space>", "C++", "\\t", "\\n", "—", "ä.", "ö.", "ü."),
    *(f"° {unit} ." for unit in "cfkCFK"),
)

_ABBREVIATIONS = """
Mt Ak Ala Apr Ariz Ark Aug Calif Colo Conn Dec Del Feb Fla Ga Ia Id Ill Ind Jan Jul Jun Kan Kans Ky La Mar Mass Mich
Minn Miss N.C N.D N.H N.J N.M N.Y Neb Nebr Nev Nov Oct Okla Ore Pa S.C Sep Sept Tenn Va Wash Wis a.m Adm Bros co Co
Corp D.C Dr e.g E.g E.G Gen Gov i.e I.e I.E Inc Jr Ltd Md Messrs Mo Mont Mr Mrs Ms p.m Ph.D Prof Rep Rev Sen St vs v.s
a b c d e f g h i j k l m n o p q r s t u v w x y z
"""
"""Without their last full stop."""

_FACES = r"""
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-;
:( :-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p
:O :-O :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D
^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o
0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
"""

LONGEST_EXCEPTION = 12
"""Characters of the longest exception."""


@cache
def exceptions() -> dict[str, tuple[int, ...]]:
    """Each exception, and the lengths of the tokens that it is cut into, in characters."""
    found: dict[str, tuple[int, ...]] = {}
    for pieces in _cut_exceptions():
        for variant in (pieces, pieces.replace("'", "’")):
            found[variant.replace(" ", "")] = tuple(map(len, variant.split()))
    return found


def _cut_exceptions() -> Iterator[str]:
    """Exceptions with a space where they are cut. Of two that are equal without it, the later one holds."""
    yield from _FACES.split()
    for words, endings in _CONTRACTIONS:
        for word in (*words, *map(str.title, words)):
            for ending in endings:
                yield f"{word} {ending}"
                bare = ending.replace("'", "")
                if (word + bare).lower() not in _NO_CONTRACTIONS:
                    yield f"{word} {bare}"
    for pieces in _CASED:
        yield pieces
        yield pieces[0].upper() + pieces[1:]
    yield from _AS_THEY_ARE
    yield from (f"{word}." for word in _ABBREVIATIONS.split())
    for hour in range(1, 13):
        yield from (f"{hour} {half}" for half in ("am", "pm", "a.m.", "p.m."))
