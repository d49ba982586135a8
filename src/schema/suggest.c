/* Edit distance over a single row (Levenshtein), blind to case. Words longer than MOST_LENGTH are never near
 * anything: names from the bus may be of any size, and the row lives on the stack. */
#include "suggest.h"

#define MOST_LENGTH 64

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static size_t edit_distance(lb_slice a, lb_slice b)
{
    size_t row[MOST_LENGTH + 1];

    for (size_t j = 0; j <= b.size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t above = row[j];
            size_t replaced = diagonal + (lower(a.data[i - 1]) != lower(b.data[j - 1]));
            row[j] = smaller(replaced, smaller(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b.size];
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
