/* Edit distance (Levenshtein, a swap of neighbours counting as one edit), blind to case. Words longer than
 * MOST_LENGTH are never near anything: names from the bus may be of any size, and the rows live on the stack.
 */
#include "suggest.h"

#define MOST_LENGTH 64

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static bool same(char a, char b) { return lower(a) == lower(b); }

static size_t edit_distance(lb_slice a, lb_slice b)
{
    size_t rows[3][MOST_LENGTH + 1]; /* in turn: this row, the one before, the one before that */

    for (size_t j = 0; j <= b.size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t replaced = above[j - 1] + !same(a.data[i - 1], b.data[j - 1]);
            row[j] = smaller(replaced, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a.data[i - 1], b.data[j - 2]) && same(a.data[i - 2], b.data[j - 1]))
                row[j] = smaller(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a.size % 3][b.size];
}

suggestion suggestion_for(lb_slice word)
{
    return (suggestion){.word = word, .distance = smaller(word.size / 2, 3) + 1};
}

void suggestion_consider(suggestion *s, lb_slice candidate)
{
    if (s->word.size > MOST_LENGTH || candidate.size > MOST_LENGTH)
        return;
    size_t distance = edit_distance(s->word, candidate);
    if (distance < s->distance) {
        s->distance = distance;
        s->best = candidate;
    }
}
