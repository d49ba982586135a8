/* Numbers as configurations, URLs and command lines have them: with a point, whatever the locale of the
 * program. */
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

/* As strtod in the C locale. Any thread. */
double number_read(const char *text, char **end);

#endif
