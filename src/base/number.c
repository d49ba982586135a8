/* Numbers in texts. See number.h. */
#include "number.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t c_locale; /* kept for as long as the process lives */

static void make_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

double number_read(const char *text, char **end)
{
    pthread_once(&once, make_locale);
    locale_t before = c_locale ? uselocale(c_locale) : (locale_t)0;
    double number = strtod(text, end);
    if (before)
        uselocale(before);
    return number;
}
