"""What the signals tell of words: how many, how long, with letters, and which of them are stop words."""

import numpy as np
import numpy.typing as npt

from beam_etl.kernels.affixes import ELLIPSIS, STOP, value
from beam_etl.kernels.characters import LETTER, SYMBOL
from beam_etl.kernels.compiled import ReadOnly, compiled
from beam_etl.kernels.text_tokens import BEGINS, ENDS, HASHES, KINDS, Tokens

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Of Gopher; in lower case only, as datatrove looks for them."""
LONGEST_STOP_WORD = 4

HASH_SIGN = 0x23


@compiled
def word_signals(
    tokens: Tokens, count: int, stop_words: ReadOnly[np.uint64], out: npt.NDArray[np.int64], place: int
) -> None:
    """Writes tokens, words and their characters, tokens with a letter, and different stop words.

    A word is a token with a character that is no symbol. `stop_words` are the hashes of those that are looked for.
    """
    words = characters = with_letter = stops = 0
    for token in range(count):
        length = value(tokens[ENDS], token) - value(tokens[BEGINS], token)
        kind = value(tokens[KINDS], token)
        with_letter += kind & LETTER != 0
        if kind & SYMBOL:
            continue
        words += 1
        characters += length
        if length <= LONGEST_STOP_WORD:
            for word in range(stop_words.size):
                stops |= int(tokens[HASHES][np.uintp(token)] == stop_words[np.uintp(word)]) << word
    out[np.uintp(place)] = count
    out[np.uintp(place + 1)] = words
    out[np.uintp(place + 2)] = characters
    out[np.uintp(place + 3)] = with_letter
    found = 0
    while stops:
        found += stops & 1
        stops >>= 1
    out[np.uintp(place + 4)] = found


@compiled
def symbol_signals(points: ReadOnly[np.uint32], count: int, out: npt.NDArray[np.int64], place: int) -> None:
    """Writes the `#` of a text, and its ellipses: the character, or three full stops that are in no other."""
    signs = ellipses = stops = 0
    for at in range(count):
        point = value(points, at)
        signs += point == HASH_SIGN
        ellipses += point == ELLIPSIS
        stops = stops + 1 if point == STOP else 0
        if stops == 3:
            ellipses += 1
            stops = 0
    out[np.uintp(place)] = signs
    out[np.uintp(place + 1)] = ellipses
