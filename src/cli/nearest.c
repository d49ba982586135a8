/* The nearest name: edit distance with swaps of neighbours, so that "auht" finds "auth"; a name that was cut
 * short
 * ("serv" for "service-name") counts as near too. */
#include "cli.h"

#include <string.h>

#define LONGEST 64 /* longer names are not compared */

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static size_t edit_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][LONGEST + 1]; /* the row before the last, the last, the present one, in turn */

    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[a_size % 3][b_size];
}

void nearest_offer(nearest *n, const char *name)
{
    size_t wanted_size = strlen(n->wanted), size = strlen(name), distance;

    if (wanted_size == 0 || wanted_size > LONGEST || size > LONGEST)
        return;
    distance =
        strncmp(name, n->wanted, wanted_size) == 0 ? 1 : edit_distance(n->wanted, wanted_size, name, size);
    if (distance > (wanted_size + 2) / 3 || (n->name && distance >= n->distance))
        return;
    n->name = name;
    n->distance = distance;
}

const char *nearest_hint(const nearest *n, char out[NEAREST_HINT])
{
    out[0] = '\0';
    if (n->name)
        snprintf(out, NEAREST_HINT, "; did you mean \"%s\"?", n->name);
    return out;
}
